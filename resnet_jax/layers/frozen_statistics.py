"""A network in training whose normalizations keep the statistics they have, all of them or some."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from flax import linen as nn

from resnet_jax.layers.norm import BatchNorm

# The path of a block that is applied as a network of its own, as scanned and rematerialized ones are.
_block: ContextVar[tuple[str, ...]] = ContextVar("block", default=())


@contextmanager
def named_block(path: tuple[str, ...]) -> Iterator[None]:
    """Tell the modules that are applied meanwhile, as a network of their own, the path of the block that they form."""
    token = _block.set(path)
    try:
        yield
    finally:
        _block.reset(token)


@dataclass(frozen=True)
class WithFrozenStatistics:
    """A network of which some batch normalizations use their running statistics in training, and leave them alone.

    Attributes:
        model: the network.
        is_frozen: whether they do, by the path of a normalization's scale or bias: "stage1_block01/norm1/bias".
    """

    model: nn.Module
    is_frozen: Callable[[str], bool]

    def apply(self, *args: Any, **kwargs: Any) -> Any:
        """Apply the network, with the arguments of its own `apply`."""
        with keep_statistics(self.is_frozen):
            return self.model.apply(*args, **kwargs)


@contextmanager
def keep_statistics(is_frozen: Callable[[str], bool]) -> Iterator[None]:
    """Let the batch normalizations of networks that are applied meanwhile keep their statistics, as above.

    Interceptors that are added within do not see their calls.
    """

    def intercept(call: Callable, args: tuple, kwargs: dict, context: nn.module.InterceptorContext) -> Any:
        module = context.module
        # A frozen one keeps its statistics by itself, and its scale and bias too.
        is_norm = isinstance(module, BatchNorm) and not module.frozen and context.method_name == "__call__"
        if is_norm and is_frozen("/".join((*_block.get(), *module.path, "bias"))):
            return module.normalize_by_running(*args)
        return call(*args, **kwargs)

    with nn.intercept_methods(intercept):
        yield
