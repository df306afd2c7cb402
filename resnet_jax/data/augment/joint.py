"""Augmentation of a picture and its mask together, on the host, by the same numbers."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from resnet_jax.data.augment import host
from resnet_jax.data.augment.color import color_jitter
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
        if self.scale != (1.0, 1.0):
            factor = math.exp(rng.uniform(math.log(self.scale[0]), math.log(self.scale[1])))
            height, width = (max(1, round(side * factor)) for side in image.shape[:2])
            image, mask = host.resize(image, height, width), resize_mask(mask, height, width)
        if self.rotate:
            image, mask = rotated(image, mask, rng.uniform(-self.rotate, self.rotate))
        if self.crop != (0, 0):
            image, mask = random_crop(image, mask, self.crop, rng)
        if self.flip and rng.random() < 0.5:
            image, mask = host.mirrored(image), mask[:, ::-1]
        return color_jitter(image, rng, *(self.jitter,) * 3, lighting=self.lighting), mask


def resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a mask [H,W] or [H,W,K]; each pixel has the value of the nearest one."""
    return _each_class(mask, lambda m: m.resize((width, height), NEAREST))


def rotated(image: np.ndarray, mask: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Rotate both about the center, counterclockwise, within their size."""
    turned = np.asarray(Image.fromarray(image).rotate(degrees, BILINEAR))
    return turned, _each_class(mask, lambda m: m.rotate(degrees, NEAREST, fillcolor=IGNORE))


def random_crop(
    image: np.ndarray, mask: np.ndarray, crop: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Cut the same random part out of both, with margins on all sides where they are smaller."""
    lacking = [max(0, want - have) for want, have in zip(crop, image.shape[:2], strict=True)]
    if any(lacking):
        margins = [(lack // 2, lack - lack // 2) for lack in lacking]
        image = np.pad(image, [*margins, (0, 0)])
        mask = np.pad(mask, margins + [(0, 0)] * (mask.ndim - 2), constant_values=IGNORE)
    top, left = (int(rng.integers(have - want + 1)) for want, have in zip(crop, image.shape[:2], strict=True))
    part = slice(top, top + crop[0]), slice(left, left + crop[1])
    return image[part], mask[part]


def _each_class(mask: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    layers = mask[..., None] if mask.ndim == 2 else mask
    found = [np.asarray(change(Image.fromarray(layers[..., k]))) for k in range(layers.shape[-1])]
    return found[0] if mask.ndim == 2 else np.stack(found, axis=-1)
