"""Test-time views: one prediction from several versions of an image, as a weighted mean of their logits."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from resnet_jax.errors import InputError

View = Callable[[jax.Array], jax.Array]


def as_it_is(images: jax.Array) -> jax.Array:
    """Images [B,H,W,C], unchanged."""
    return images


def mirror(images: jax.Array) -> jax.Array:
    """Images [B,H,W,C], left and right exchanged."""
    return images[:, :, ::-1]


def shift(images: jax.Array, pixels: int) -> jax.Array:
    """Images [B,H,W,C] moved down and to the right by `pixels`, up and to the left if negative.

    What comes in is the image reflected at its edge, without the edge itself.
    """
    size = abs(pixels)
    padded = jnp.pad(images, ((0, 0), (size, size), (size, size), (0, 0)), mode="reflect")
    start = size - pixels
    return padded[:, start : start + images.shape[1], start : start + images.shape[2]]


def mirrored_shift(images: jax.Array, pixels: int) -> jax.Array:
    """`shift`, and then `mirror`."""
    return mirror(shift(images, pixels))


# Views and their weights, which sum to 1.
VIEWS: dict[str, tuple[tuple[float, View], ...]] = {
    "center": ((1.0, as_it_is),),
    # ffcv's evaluation of ResNets.
    "flip": ((0.5, as_it_is), (0.5, mirror)),
    # Level 2 of airbench (Jordan 2024): half of the weight on the image where it is, a quarter on each of two
    # translations along the diagonal, and every one of them half mirrored.
    "flip_translate": (
        (0.25, as_it_is),
        (0.25, mirror),
        *((0.125, partial(view, pixels=pixels)) for pixels in (1, -1) for view in (shift, mirrored_shift)),
    ),
}


def averaged_logits(apply: Callable[[jax.Array], Any], images: jax.Array, views: str = "center") -> jax.Array:
    """The weighted mean of the logits of an image's views: [B,K], in the logits' type.

    Args:
        apply: from images [B,H,W,C] to logits [B,K], such as `partial(model.apply, variables)`; called once a view.
        images: [B,H,W,C], normalised, so that what is reflected is too.
        views: a key of `VIEWS`.

    Raises:
        InputError: there are no such views.
    """
    if views not in VIEWS:
        raise InputError(f"--views={views}: there are no such views; known are {', '.join(VIEWS)}")
    (weight, view), *others = VIEWS[views]
    mean = weight * apply(view(images))
    for weight, view in others:
        mean = mean + weight * apply(view(images))
    return mean
