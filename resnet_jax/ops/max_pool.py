"""Maximum over windows, and its gradient without `select_and_scatter`, which XLA:CPU runs value by value.

The forward pass keeps the position of each window's maximum, one byte; the backward pass adds every gradient there. For
8 x 112x112x64, 3x3 at stride 2, both take 31 CPU ms instead of 161 (one core, jaxlib 0.10.2).
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from resnet_jax.ops.fusion_barrier import compute_unfused
from resnet_jax.ops.lowering import is_active

Pads = tuple[tuple[int, int], tuple[int, int]]


def window_max(x: jax.Array, size: int, strides: int, pads: Pads) -> jax.Array:
    """Return maxima over square windows of x [B,H,W,C], with `pads` of -inf around rows and columns: [B,H',W',C].

    The gradient goes to the first maximum of a window, row by row, on every backend.
    """
    if not is_active("kept_places") or size * size > 256:
        return _plain(x, size, strides, pads)
    return _maximum(x, size, strides, pads)


def _plain(x: jax.Array, size: int, strides: int, pads: Pads) -> jax.Array:
    return nn.max_pool(x, (size, size), (strides, strides), padding=pads)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _maximum(x: jax.Array, size: int, strides: int, pads: Pads) -> jax.Array:
    return _plain(x, size, strides, pads)


def _forward(x: jax.Array, size: int, strides: int, pads: Pads):
    y = _plain(x, size, strides, pads)
    shape = jnp.zeros((0, *x.shape[1:3], 0), x.dtype)  # height and width; what is saved must be an array
    return y, (compute_unfused(lambda: first_maximum(x, y, size, strides, pads)), shape)


def _backward(size: int, strides: int, pads: Pads, saved: tuple[jax.Array, jax.Array], g: jax.Array):
    position, shape = saved
    height, width = shape.shape[1:3]
    return (input_gradient(position, g, height, width, size, strides, pads),)


_maximum.defvjp(_forward, _backward)


def first_maximum(x: jax.Array, y: jax.Array, size: int, strides: int, pads: Pads) -> jax.Array:
    """Return the position of the first maximum y in each window of x, counted row by row: uint8 [B,H',W',C]."""
    rows, columns = ((n - 1) * strides + 1 for n in y.shape[1:3])
    padded = lax.pad(x, jnp.array(-jnp.inf, x.dtype), ((0, 0, 0), (*pads[0], 0), (*pads[1], 0), (0, 0, 0)))
    position = jnp.zeros(y.shape, jnp.uint8)
    for number in reversed(range(size * size)):
        i, j = divmod(number, size)
        here = padded[:, i : i + rows : strides, j : j + columns : strides]
        # Not `here == y`: where y is NaN, it is the first.
        position = jnp.where(here < y, position, jnp.uint8(number))
    return position


def input_gradient(
    position: jax.Array, g: jax.Array, height: int, width: int, size: int, strides: int, pads: Pads
) -> jax.Array:
    """Return the gradient of x [B,height,width,C], from those of the maxima and their positions, both [B,H',W',C].

    Pixels with the same remainders by the strides are computed together, each from the few windows that contain it.
    """
    batch, rows, columns, channels = g.shape
    (top, _), (left, _) = pads
    # Size of a phase, the pixels of the same remainders; no window reads beyond it.
    tall = max(-(-(height + top) // strides), rows + (size - 1) // strides)
    wide = max(-(-(width + left) // strides), columns + (size - 1) // strides)
    zero = jnp.zeros((), g.dtype)

    def phase(p: int, q: int) -> jax.Array:
        total = jnp.zeros((batch, tall, wide, channels), g.dtype)
        for i in range(p, size, strides):
            for j in range(q, size, strides):
                a, b = i // strides, j // strides
                margins = ((0, 0, 0), (a, tall - rows - a, 0), (b, wide - columns - b, 0), (0, 0, 0))
                total += lax.pad(jnp.where(position == i * size + j, g, zero), zero, margins)
        return total

    phases = [jnp.stack([phase(p, q) for q in range(strides)], axis=3) for p in range(strides)]
    whole = jnp.stack(phases, axis=2).reshape(batch, tall * strides, wide * strides, channels)
    return whole[:, top : top + height, left : left + width]
