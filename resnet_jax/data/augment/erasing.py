"""Erasing of rectangles in a batch on the device: random erasing and cutout.

Both come after normalization, where zero is the mean of the training set, and are pure, to be called inside jit. The
mask compares row and column numbers with the box, because the boxes of a batch differ in size.
"""

import math
from typing import Literal

import jax
import jax.numpy as jnp

from resnet_jax.data.augment.device import CUTOUT, ERASE, keys_for
from resnet_jax.runtime.batch import Batch

TRIES = 10


def random_erasing(
    batch: Batch,
    keys: jax.Array,
    probability: float,
    scale: tuple[float, float] = (0.02, 0.33),
    ratio: tuple[float, float] = (0.3, 3.3),
    fill: Literal["zero", "noise"] = "zero",
) -> Batch:
    """Erase a random rectangle of each image with some probability (Zhong et al. 2020), as torchvision does.

    https://arxiv.org/abs/1708.04896

    Args:
        batch: with "image" float32 [B,H,W,C], normalized.
        keys: [B].
        probability: of erasing.
        scale: smallest and largest part of the area.
        ratio: smallest and largest height / width of the rectangle.
        fill: zeros, or standard normal noise in every pixel and channel (timm's mode "pixel").

    Returns:
        The batch with "image" of the same shape.
    """
    image = batch["image"]

    def erased(key: jax.Array, one: jax.Array) -> jax.Array:
        whether, where, noise = jax.random.split(key, 3)
        height, width = one.shape[:2]
        box = erasing_box(where, height, width, scale, ratio)
        filling = jax.random.normal(noise, one.shape, one.dtype) if fill == "noise" else jnp.zeros_like(one)
        mask = jax.random.bernoulli(whether, probability) & _inside(box, height, width)
        return jnp.where(mask[:, :, None], filling, one)

    return {**batch, "image": jax.vmap(erased)(keys_for(keys, ERASE), image)}


def erasing_box(
    key: jax.Array, height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> jax.Array:
    """Draw the box to erase: the first of ten tries that is smaller than the image in height and width.

    Returns:
        int32 [4]: top, left, height, width; all 0 where no try fits.
    """
    # One draw for all numbers: draws dominate XLA's compile time on CPUs (measured: 7 s with eight, 3 s with four).
    numbers = jax.random.uniform(key, (2 * TRIES + 2,))
    part, tilt, corner = jnp.split(numbers, (TRIES, 2 * TRIES))
    area = height * width * (scale[0] + (scale[1] - scale[0]) * part)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = jnp.exp(low + (high - low) * tilt)
    sides = jnp.stack([jnp.sqrt(area * aspect), jnp.sqrt(area / aspect)], axis=1).round().astype(jnp.int32)
    size = jnp.array([height, width])
    fits = (sides < size[None, :]).all(axis=1)
    chosen = jnp.where(fits.any(), sides[fits.argmax()], 0)
    corner = jnp.floor(corner * (size - chosen + 1)).astype(jnp.int32)
    return jnp.concatenate([jnp.where(fits.any(), corner, 0), chosen])


def cutout(batch: Batch, keys: jax.Array, size: int) -> Batch:
    """Set a square of each image to zero, at a random position inside the image, as airbench96 does (Jordan 2024).

    DeVries & Taylor 2017 (https://arxiv.org/abs/1708.04552) draw the square's center instead and clip the square at the
    edge, which erases less: of a square of 16 pixels, in images of 32, a side of 14 on average.

    Args:
        batch: with "image" float32 [B,H,W,C], normalized.
        keys: [B].
        size: of the square, pixels; H and W at most.

    Returns:
        The batch with "image" of the same shape.
    """
    image = batch["image"]
    height, width = image.shape[1:3]
    room = jnp.array([height, width]) - size + 1

    def mask(key: jax.Array) -> jax.Array:
        corner = jax.random.randint(key, (2,), 0, room)
        return _inside(jnp.concatenate([corner, jnp.array([size, size])]), height, width)

    return {**batch, "image": jnp.where(jax.vmap(mask)(keys_for(keys, CUTOUT))[..., None], 0, image)}


def _inside(box: jax.Array, height: int, width: int) -> jax.Array:
    """Return a mask [H,W] of the pixels in a box of (top, left, height, width)."""
    top, left, tall, wide = box
    row, column = jnp.arange(height) - top, jnp.arange(width) - left
    return ((row >= 0) & (row < tall))[:, None] & ((column >= 0) & (column < wide))[None, :]
