"""Logits of large pictures from overlapping tiles, of which the inner parts count."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from resnet_jax.errors import InputError

# Where tiles begin: the largest stride of the networks, so that a tile is pooled as the whole picture is.
GRID = 32


class Window(NamedTuple):
    """A part of an axis: pixels `start` to `stop` are seen, of which `first` to `last` count."""

    start: int
    stop: int
    first: int
    last: int


def windows(length: int, tile: int, margin: int) -> list[Window]:
    """Return the windows of an axis, whose counted parts cover it without overlap.

    Args:
        length: of the axis, pixels.
        tile: pixels that count of each.
        margin: pixels seen beside them, as far as the picture goes.
    """
    edges = [(first, min(length, first + tile)) for first in range(0, length, tile)]
    return [Window(max(0, first - margin), min(length, last + margin), first, last) for first, last in edges]


def tiled(apply: Callable[[Any, jax.Array], jax.Array], tile: int, margin: int) -> Callable[[Any, jax.Array], Any]:
    """Return the function (variables, images [B,H,W,3]) -> logits [B,H,W,K], by tiles of images larger than one.

    It equals the function of whole images where the margin is as wide as what a pixel's logits depend on, and the
    network resizes by whole factors: `unet` at any size, encoders where both sides are multiples of GRID. Elsewhere it
    is near. It compiles one program for each shape of a tile, of which a picture has few.

    Args:
        apply: compiled, of whole images.
        tile: pixels a side that count of each tile.
        margin: pixels around it that the network sees.

    Raises:
        InputError: they are not multiples of GRID.
    """
    for name, value in (("tile", tile), ("tile_margin", margin)):
        if value % GRID or value < 0:
            near = max(GRID, -(-value // GRID) * GRID)
            kind = "a positive multiple" if name == "tile" else "0 or a multiple"
            raise InputError(f"--{name}={value} must be {kind} of {GRID}; take {near}")

    def logits(variables: Any, images: jax.Array) -> jax.Array:
        height, width = images.shape[1:3]
        if height <= tile and width <= tile:
            return apply(variables, images)
        rows = []
        for y in windows(height, tile, margin):
            parts = []
            for x in windows(width, tile, margin):
                found = apply(variables, images[:, y.start : y.stop, x.start : x.stop])
                parts.append(found[:, y.first - y.start : y.last - y.start, x.first - x.start : x.last - x.start])
            rows.append(jnp.concatenate(parts, axis=2))
        return jnp.concatenate(rows, axis=1)

    return logits


def jit_logits(
    apply: Callable[[Any, jax.Array], jax.Array], tile: int = 0, margin: int = 0, compiler_options: Any = None
) -> Callable[[Any, jax.Array], Any]:
    """Return the compiled function (variables, images) -> logits, by tiles where `tile` is not 0."""
    whole = jax.jit(apply, compiler_options=compiler_options)
    return tiled(whole, tile, margin) if tile else whole
