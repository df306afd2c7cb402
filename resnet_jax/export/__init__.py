"""Export of trained networks. `resnet_jax.export(...)` calls this package, which calls `write.export`."""

import sys
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    # A function `resnet_jax.export` would be replaced by the package of that name when the package is first imported.
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from resnet_jax.export.write import export

        return export(*args, **kwargs)


sys.modules[__name__].__class__ = _Room
