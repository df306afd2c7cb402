"""Access to the inside of a network: its convolutions, normalizations and blocks in the order in which they run.

Names are the parameter tree's, joined by slashes: "stage1_block02/conv1". A layer belongs to the main path unless it is
part of a shortcut, a gate or channel attention: depth is the number of layers that the image goes through.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from resnet_jax.errors import InputError
from resnet_jax.layers.conv import Conv
from resnet_jax.layers.norm import BatchNorm
from resnet_jax.models.resnet import shortcuts
from resnet_jax.models.resnet.scan import unrolled

BESIDE = {"conv_proj", "norm_proj", "gate", "attention", "reduce_conv", "reduce_norm", "select_conv"}
BLOCK = re.compile(r"stage\d+_block\d+")

Array = jax.Array | np.ndarray
Watch = Callable[[nn.Module, tuple[Any, ...], Any], None]


@dataclass(frozen=True)
class Block:
    """One block of a network.

    Attributes:
        name: as in the parameter tree.
        has_shortcut: something runs beside its convolutions, to which they add.
        keeps_shape: its output has its input's shape, so that the identity could replace it.
    """

    name: str
    has_shortcut: bool
    keeps_shape: bool

    @property
    def stage(self) -> str:
        """The part of the name that blocks of one stage share."""
        return self.name.rpartition("_block")[0]


def apply_watched(model: nn.Module, variables: Any, images: Array, watch: Watch, **settings: Any) -> Any:
    """Apply the unrolled model, and call `watch(module, arguments, output)` after every layer and block, inner first.

    Args:
        model: any network.
        variables: its variables.
        images: float32 [B,H,W,3], normalized.
        watch: gets each module as it has run.
        **settings: of `model.apply`.
    """

    def intercept(call: Callable, args: tuple, kwargs: dict, context: nn.module.InterceptorContext) -> Any:
        output = call(*args, **kwargs)
        if context.method_name == "__call__":
            watch(context.module, args, output)
        return output

    with nn.intercept_methods(intercept):
        return unrolled(model).apply(variables, images, **settings)


def name_of(module: nn.Module) -> str:
    """Return the path of a module's parameters: "stage1_block02/conv1"."""
    return "/".join(module.path)


def leaves_of(tree: Any, name: str) -> Any:
    """Return the leaves of `params` or `batch_stats` of the layer of that name: {"kernel": …}, {"scale": …}."""
    for part in name.split("/"):
        tree = tree[part]
    return tree


def is_main_conv(module: nn.Module) -> bool:
    """Return whether a module is a convolution of the main path; a classifier that is a 1x1 convolution is none."""
    return isinstance(module, Conv) and module.path[-1] != "head" and BESIDE.isdisjoint(module.path)


def is_norm(module: nn.Module) -> bool:
    """Return whether a module normalizes, by batches or by groups of channels."""
    return isinstance(module, BatchNorm | nn.GroupNorm)


def main_convs(model: nn.Module, variables: Any, images: Array) -> tuple[str, ...]:
    """Return the names of the main path's convolutions, the first on the image; [B,H,W,3], nothing is computed."""
    return _names_of(model, variables, images, is_main_conv)


def main_norms(model: nn.Module, variables: Any, images: Array) -> tuple[str, ...]:
    """Return the names of the main path's normalizations from the image on; [B,H,W,3], nothing is computed."""
    return _names_of(model, variables, images, lambda module: is_norm(module) and BESIDE.isdisjoint(module.path))


def blocks(model: nn.Module, variables: Any, images: Array) -> tuple[Block, ...]:
    """Return the blocks that images [B,H,W,3] go through, in their order; nothing is computed.

    Raises:
        InputError: the network has none.
    """
    found: list[Block] = []

    def watch(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if module.path and BLOCK.fullmatch(module.path[-1]):
            shortcut = getattr(module, "shortcut", shortcuts.none)
            found.append(Block(name_of(module), shortcut is not shortcuts.none, args[0].shape == output.shape))

    jax.eval_shape(lambda v, x: apply_watched(model, v, x, watch, train=False), variables, images)
    if not found:
        raise InputError(f"{type(model).__name__} has no blocks to look into; choose a residual or a plain network")
    return tuple(found)


def _names_of(model: nn.Module, variables: Any, images: Array, wanted: Callable[[nn.Module], bool]) -> tuple[str, ...]:
    names: list[str] = []

    def watch(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if wanted(module):
            names.append(name_of(module))

    jax.eval_shape(lambda v, x: apply_watched(model, v, x, watch, train=False), variables, images)
    return tuple(names)
