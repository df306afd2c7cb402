"""What leaves the house. The room can be called: `resnet_jax.export(trained, "network.onnx")` is `write.export`."""

import sys
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    # A function of this name beside the room would be replaced by it at the room's first import.
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from resnet_jax.export.write import export

        return export(*args, **kwargs)


sys.modules[__name__].__class__ = _Room
