"""What runs beside a block's convolutions: the shortcuts of He et al. 2015, section 3.3.

Each takes the block's input [B,H,W,C] and what the block makes of its shape, and gives [B,H/strides,W/strides,filters]
to be added, or None when nothing is added. Convolutions made here belong to the calling block, under the names
`conv_proj` and `norm_proj`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn


def none(x: jax.Array, filters: int, strides: int, conv: Callable, norm: Callable) -> None:
    """No shortcut: a plain network."""
    return None


def zero_pad(x: jax.Array, filters: int, strides: int, conv: Callable, norm: Callable) -> jax.Array:
    """Option A: identity; where the shape changes, every `strides`-th pixel and zeros for the new channels.

    Half of the zeros stand before the old channels and half behind, as in the CIFAR weights that are in circulation.
    """
    x = x[:, ::strides, ::strides]
    extra = filters - x.shape[-1]
    return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (extra // 2, extra - extra // 2)))


def project_on_change(x: jax.Array, filters: int, strides: int, conv: Callable, norm: Callable) -> jax.Array:
    """Option B: identity; a normalised 1x1 convolution where the shape changes."""
    if strides == 1 and x.shape[-1] == filters:
        return x
    return project(x, filters, strides, conv, norm)


def project(x: jax.Array, filters: int, strides: int, conv: Callable, norm: Callable) -> jax.Array:
    """Option C: a normalised 1x1 convolution in every block."""
    return norm(name="norm_proj")(conv(filters, 1, strides, name="conv_proj")(x))


def average_and_project(x: jax.Array, filters: int, strides: int, conv: Callable, norm: Callable) -> jax.Array:
    """Option D (He et al. 2018, "Bag of tricks"): as B, but the mean of 2x2 pixels takes the place of the stride.

    A stride in the 1x1 convolution would throw three quarters of the pixels away.
    """
    if strides == 2:
        odd = ((0, x.shape[1] % 2), (0, x.shape[2] % 2))
        x = nn.avg_pool(x, (2, 2), strides=(2, 2), padding=odd, count_include_pad=False)
    return project_on_change(x, filters, 1, conv, norm)


def bare_project_on_change(x: jax.Array, filters: int, strides: int, conv: Callable, norm: Callable) -> jax.Array:
    """Identity; where the shape changes a 1x1 convolution without normalisation (pre-activation blocks)."""
    if strides == 1 and x.shape[-1] == filters:
        return x
    return conv(filters, 1, strides, name="conv_proj")(x)


def add(x: jax.Array, residual: jax.Array | None, y: jax.Array, **settings: Any) -> jax.Array:
    """How a block joins its shortcut and its branch y: the sum, or the branch alone where there is no shortcut."""
    return y if residual is None else y + residual


SHORTCUTS: dict[str, Callable[..., jax.Array | None]] = {
    "none": none,
    "A": zero_pad,
    "B": project_on_change,
    "C": project,
    "D": average_and_project,
    "bare": bare_project_on_change,
}
