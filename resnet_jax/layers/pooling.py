"""Pooling, resizing and blurring: layers without parameters."""

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


def binomial_blur(x: jax.Array) -> jax.Array:
    """Blur x [B,H,W,C] with the binomial filter 1 2 1 in both directions; beyond the edges are zeros."""
    for axis in (1, 2):
        margins = [(1, 1) if a == axis else (0, 0) for a in range(4)]
        before, here, after = (
            jax.lax.slice_in_dim(jnp.pad(x, margins), start, start + x.shape[axis], axis=axis) for start in range(3)
        )
        x = before / 4 + here / 2 + after / 4  # sums of shifted copies: grouped convolutions are slow on CPUs
    return x


def mean_of_pairs(x: jax.Array, distance: int) -> jax.Array:
    """Return the mean of each pixel of x [B,H,W,C] and of those `distance` to the right, below, and both.

    Of pairs that the edge cuts only the pixel itself counts. Sampled every 2 `distance` pixels, the result equals the
    mean over 2x2 windows, with stride 2, of an image that was sampled every `distance` pixels.
    """
    for axis in (1, 2):
        size = x.shape[axis]
        inside, edge = min(distance, size), max(0, size - distance)
        x = (x + _joined(x, axis, (inside, size), (edge, size))) / 2
    return x


def blur(x: jax.Array, distance: int) -> jax.Array:
    """Blur x [B,H,W,C] as `blur_pool` does, but without its stride, and with pixels `distance` away for neighbors.

    Sampled every 2 `distance` pixels, the result equals `blur_pool` of an image sampled every `distance` pixels.
    """
    for axis in (1, 2):
        n = x.shape[axis]
        d = min(distance, n)
        # At the edges the neighbor on the other side, or, in an image of less than 2 d, the pixel itself.
        near, far = min(d, n - d), max(d, n - d)
        before = _joined(x, axis, (d, d + near), (near, d), (0, n - d))
        after = _joined(x, axis, (d, n), (n - d, far), (far - d, n - d))
        x = before / 4 + x / 2 + after / 4
    return x


def _joined(x: jax.Array, axis: int, *ranges: tuple[int, int]) -> jax.Array:
    return jnp.concatenate([jax.lax.slice_in_dim(x, start, stop, axis=axis) for start, stop in ranges], axis)


@jax.jit
def reflect_edges(x: jax.Array) -> jax.Array:
    """Surround x [B,H,W,C] by one row or column on each side, mirrored at its edges; an export knows it by name."""
    return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")


def blur_pool(x: jax.Array) -> jax.Array:
    """Subsample x [B,H,W,C] to [B,H/2,W/2,C] after the binomial filter 1 2 1, with the image reflected at its edges.

    Without aliasing a shifted image gives shifted features (Zhang 2019, arXiv:1904.11486).
    """
    channels = x.shape[-1]
    line = jnp.array([1, 2, 1], x.dtype) / 4
    kernel = jnp.broadcast_to(jnp.outer(line, line)[:, :, None, None], (3, 3, 1, channels))
    return jax.lax.conv_general_dilated(
        reflect_edges(x),
        kernel,
        window_strides=(2, 2),
        padding="VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=channels,
    )
