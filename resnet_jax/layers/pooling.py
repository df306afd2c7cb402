"""Pooling and resizing: layers without parameters."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from resnet_jax.errors import InputError
from resnet_jax.ops.max_pool import window_max


def max_pool(x: jax.Array, size: int = 3, strides: int = 2, padding: int = 1, ceil: bool = False) -> jax.Array:
    """Return maxima over windows, padded with -inf on every side as in torch: [B,H,W,C] -> [B,H/strides,W/strides,C].

    With `ceil`, a last window that starts inside the image and overhangs it counts as well (torch's `ceil_mode`).
    """

    def pads(length: int) -> tuple[int, int]:
        rest = (length + 2 * padding - size) % strides
        overhang = strides - rest if ceil and rest else 0
        starts_inside = length + padding + overhang - size < length
        return padding, padding + (overhang if starts_inside else 0)

    return window_max(x, size, strides, (pads(x.shape[1]), pads(x.shape[2])))


def refuse_empty(height: Any, width: Any) -> None:
    """Refuse images of which nothing is left, and whose mean would be NaN.

    Args:
        height: of what is left; of a program for any size it is unknown, and not refused.
        width: likewise.

    Raises:
        InputError: one is 0.
    """
    if any(isinstance(side, int) and side < 1 for side in (height, width)):
        raise InputError("the images are too small: the network's pooling leaves nothing of them; take larger ones")


def average_pool(x: jax.Array, size: int = 2) -> jax.Array:
    """Return averages over windows side by side: [B,H,W,C] -> [B,H/size,W/size,C], rounded down."""
    refuse_empty(x.shape[1] // size, x.shape[2] // size)
    return nn.avg_pool(x, (size, size), strides=(size, size))


def adaptive_average_pool(x: jax.Array, size: int) -> jax.Array:
    """Return averages over a grid of size x size windows, as torch does: [B,H,W,C] -> [B,size,size,C].

    Window i covers floor(i H / size) up to ceil((i + 1) H / size), so that neighbors overlap where `size` does not
    divide H, and repeat where H is the smaller.
    """
    for axis in (1, 2):
        length = x.shape[axis]
        if length == size:
            continue
        windows = [(i * length // size, -(-(i + 1) * length // size)) for i in range(size)]
        means = [jax.lax.slice_in_dim(x, start, stop, axis=axis).mean(axis) for start, stop in windows]
        x = jnp.stack(means, axis)
    return x


def flatten_channels_first(x: jax.Array) -> jax.Array:
    """Return x [B,H,W,C] as [B,C*H*W], channels outermost: the order of torch's dense layers after convolutions."""
    return x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)


def resize_bilinear(x: jax.Array, height: int, width: int) -> jax.Array:
    """Resize x [B,H,W,C] to [B,height,width,C], without antialiasing (torch's bilinear, `align_corners=False`)."""
    if x.shape[1:3] == (height, width):
        return x

    # By this name an export knows it: jax.image.resize is a product of matrices.
    @jax.jit
    def resize_bilinear(x: jax.Array) -> jax.Array:
        return jax.image.resize(x, (x.shape[0], height, width, x.shape[-1]), "bilinear", antialias=False)

    return resize_bilinear(x)


def subsample(x: jax.Array, strides: int) -> jax.Array:
    """Return every `strides`-th row and column of x [B,H,W,C], from the first on."""
    return jax.lax.slice(x, (0,) * 4, x.shape, (1, strides, strides, 1))
