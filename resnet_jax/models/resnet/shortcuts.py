"""Shortcuts of He et al. 2015, section 3.3, and the ways to merge them with a branch that He et al. 2016 compared.

A shortcut maps the block's input [B,H,W,C] to the [B,H/strides,W/strides,filters] that the branch is added to, or to
None, where nothing is added. It is called inside the block, so that its layers, `conv_proj` and `norm_proj`, are the
block's. Where dilation replaces the block's stride, `spacing` is the distance of the pixels that were neighbors; else
it is 0.

A merge joins a block's shortcut and its residual branch (Table 1 of He et al. 2016, arXiv:1603.05027), also inside the
block: `merge(x, residual, y, conv=…, train=…)`, where x [B,H,W,C] is the block's input, residual the shortcut's output
and y the branch's, both [B,H/s,W/s,D].
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from resnet_jax.layers.blurring import mean_of_pairs
from resnet_jax.layers.pooling import subsample


def none(x: jax.Array, filters: int, strides: int, conv: Callable, norm: Callable, spacing: int = 0) -> None:
    """Return None: a plain network has no shortcuts."""
    return None


def zero_pad(x: jax.Array, filters: int, strides: int, conv: Callable, norm: Callable, spacing: int = 0) -> jax.Array:
    """Return option A: x; where the shape changes, every `strides`-th pixel and zeros for the new channels.

    Half of the zeros are before the old channels and half after, as in the published CIFAR weights.
    """
    x = subsample(x, strides)
    extra = filters - x.shape[-1]
    return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (extra // 2, extra - extra // 2)))


def project_on_change(
    x: jax.Array, filters: int, strides: int, conv: Callable, norm: Callable, spacing: int = 0
) -> jax.Array:
    """Return option B: x; where the shape changes, a normalized 1x1 convolution."""
    if strides == 1 and x.shape[-1] == filters:
        return x
    return project(x, filters, strides, conv, norm)


def project(x: jax.Array, filters: int, strides: int, conv: Callable, norm: Callable, spacing: int = 0) -> jax.Array:
    """Return option C: a normalized 1x1 convolution in every block."""
    return norm(name="norm_proj")(conv(filters, 1, strides, name="conv_proj")(x))


def average_and_project(
    x: jax.Array, filters: int, strides: int, conv: Callable, norm: Callable, spacing: int = 0
) -> jax.Array:
    """Return option D (He et al. 2018, "Bag of tricks"): as B, but with the mean of 2x2 pixels instead of the stride.

    A stride in the 1x1 convolution would discard three quarters of the pixels.
    """
    if strides == 2:
        odd = ((0, x.shape[1] % 2), (0, x.shape[2] % 2))
        x = nn.avg_pool(x, (2, 2), strides=(2, 2), padding=odd, count_include_pad=False)
    elif spacing:
        x = mean_of_pairs(x, spacing)
    return project_on_change(x, filters, 1, conv, norm)


def bare_project_on_change(
    x: jax.Array, filters: int, strides: int, conv: Callable, norm: Callable, spacing: int = 0
) -> jax.Array:
    """Return x; where the shape changes, a 1x1 convolution without normalization (pre-activation blocks)."""
    if strides == 1 and x.shape[-1] == filters:
        return x
    return conv(filters, 1, strides, name="conv_proj")(x)


def add(x: jax.Array, residual: jax.Array | None, y: jax.Array, **settings: Any) -> jax.Array:
    """Return the sum of shortcut and branch, or the branch alone where there is no shortcut."""
    return y if residual is None else y + residual


SHORTCUTS: dict[str, Callable[..., jax.Array | None]] = {
    "none": none,
    "A": zero_pad,
    "B": project_on_change,
    "C": project,
    "D": average_and_project,
    "bare": bare_project_on_change,
}


def constant_scaling(
    x: jax.Array, residual: jax.Array, y: jax.Array, *, conv: Callable, train: bool, shortcut: float, branch: float
) -> jax.Array:
    """Weight both by constants: 12.35 % error at 0.5 and 0.5 (published, CIFAR-10, ResNet-110; the sum: 6.61 %)."""
    return branch * y + shortcut * residual


def exclusive_gating(
    x: jax.Array, residual: jax.Array, y: jax.Array, *, conv: Callable, train: bool, bias: float
) -> jax.Array:
    """Weight the branch by g(x), the shortcut by 1 - g(x), as in highway networks: 8.70 % at bias -6 (published)."""
    g = gate(x, y, conv, bias)
    return g * y + (1 - g) * residual


def shortcut_only_gating(
    x: jax.Array, residual: jax.Array, y: jax.Array, *, conv: Callable, train: bool, bias: float
) -> jax.Array:
    """Weight the shortcut alone by 1 - g(x): 12.86 % at bias 0, 6.91 % at bias -6 (published)."""
    return y + (1 - gate(x, y, conv, bias)) * residual


def dropped_shortcut(
    x: jax.Array, residual: jax.Array, y: jax.Array, *, conv: Callable, train: bool, rate: float
) -> jax.Array:
    """Drop values of the shortcut: the paper's network at rate 0.5 did not converge (published)."""
    return y + nn.Dropout(rate, deterministic=not train, name="drop_shortcut")(residual)


def gate(x: jax.Array, y: jax.Array, conv: Callable, bias: float) -> jax.Array:
    """Return g(x) = sigmoid(W x + b) with a 1x1 convolution, in the shape of y."""
    strides = max(-(-x.shape[axis] // y.shape[axis]) for axis in (1, 2))
    start = nn.initializers.constant(bias)
    return nn.sigmoid(conv(y.shape[-1], 1, strides, use_bias=True, bias_init=start, name="gate")(x))


MERGES: dict[str, Callable[..., jax.Array]] = {
    "add": add,
    "constant": partial(constant_scaling, shortcut=0.5, branch=0.5),
    "exclusive_gate": partial(exclusive_gating, bias=-6.0),
    "shortcut_gate": partial(shortcut_only_gating, bias=-6.0),
    "dropout": partial(dropped_shortcut, rate=0.5),
}
