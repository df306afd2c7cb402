"""Augmentation of a picture and its mask together, on the host, by the same numbers."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from resnet_jax.data.augment.color import color_jitter
from resnet_jax.data.augment.host import mirrored
from resnet_jax.data.augment.resize import mask_window, resized_window
from resnet_jax.runtime.batch import IGNORE

BILINEAR, NEAREST = Image.Resampling.BILINEAR, Image.Resampling.NEAREST


@dataclass(frozen=True)
class JointTransform:
    """The transform of training: (image uint8 [H,W,3], mask, rng, size) -> both, of the crop's size. Pickles.

    A mask is uint8 [H,W], or [H,W,K] of classes that overlap. What lies beyond the picture is black, and IGNORE in the
    mask.

    Attributes:
        crop: height and width of the random crop; (0, 0): the picture as it is.
        scale: smallest and largest factor by which the picture is resized before; drawn evenly in its logarithm.
        rotate: largest angle, degrees, to either side.
        flip: mirror half of the pictures.
        jitter: brightness, contrast and saturation of the picture change by up to this part.
        lighting: standard deviation of the noise along the principal components of color.
    """

    crop: tuple[int, int] = (0, 0)
    scale: tuple[float, float] = (1.0, 1.0)
    rotate: float = 0.0
    flip: bool = True
    jitter: float = 0.0
    lighting: float = 0.0

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator, size: object = None
    ) -> tuple[np.ndarray, np.ndarray]:
        del size  # the crop's may be a rectangle
        shape = self._draw_shape(image.shape[:2], rng)
        if self.rotate:  # whole, before the crop
            image, mask = rotated(*cut(image, mask, shape, (0, 0), shape), rng.uniform(-self.rotate, self.rotate))
        crop = shape if self.crop == (0, 0) else self.crop
        image, mask = cut(image, mask, shape, random_corner(shape, crop, rng), crop)
        if self.flip and rng.random() < 0.5:
            image, mask = mirrored(image), mask[:, ::-1]
        return color_jitter(image, rng, *(self.jitter,) * 3, lighting=self.lighting), mask

    def _draw_shape(self, shape: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
        if self.scale == (1.0, 1.0):
            return shape
        factor = math.exp(rng.uniform(math.log(self.scale[0]), math.log(self.scale[1])))
        return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))


def rotated(image: np.ndarray, mask: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Rotate both about the center, counterclockwise, within their size."""
    turned = np.asarray(Image.fromarray(image).rotate(degrees, BILINEAR))
    return turned, _each_class(mask, lambda m: m.rotate(degrees, NEAREST, fillcolor=IGNORE))


def random_corner(shape: tuple[int, int], crop: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Draw top and left of a crop within a picture; along a side that is shorter than the crop, it lies in the middle.

    Args:
        shape: height and width of the picture.
        crop: height and width of the crop.
        rng: source of randomness.
    """
    top, left = (
        int(rng.integers(max(0, have - want) + 1)) - max(0, want - have) // 2
        for want, have in zip(crop, shape, strict=True)
    )
    return top, left


def cut(
    image: np.ndarray, mask: np.ndarray, shape: tuple[int, int], corner: tuple[int, int], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Resize both to a shape and cut the same window out of the results, of which nothing else is computed.

    Args:
        image: uint8 [H,W,3].
        mask: uint8 [H,W] or [H,W,K].
        shape: height and width of the resized picture.
        corner: top and left of the window there; negative where it overhangs.
        size: height and width of the window; what lies beyond the picture is black, and IGNORE in the mask.
    """
    inside = [(max(0, start), min(have, start + want)) for start, want, have in zip(corner, size, shape, strict=True)]
    (top, bottom), (left, right) = inside
    if image.shape[:2] == shape:
        image, mask = image[top:bottom, left:right], mask[top:bottom, left:right]
    else:
        window = (top, left), (bottom - top, right - left)
        image, mask = resized_window(image, *shape, *window), mask_window(mask, *shape, *window)
    margins = [
        (first - start, start + want - last) for (first, last), start, want in zip(inside, corner, size, strict=True)
    ]
    if not np.any(margins):
        return image, mask
    overlapping = [(0, 0)] * (mask.ndim - 2)
    return np.pad(image, [*margins, (0, 0)]), np.pad(mask, margins + overlapping, constant_values=IGNORE)


def _each_class(mask: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    layers = mask[..., None] if mask.ndim == 2 else mask
    found = [np.asarray(change(Image.fromarray(layers[..., k]))) for k in range(layers.shape[-1])]
    return found[0] if mask.ndim == 2 else np.stack(found, axis=-1)
