"""Preprocessing of images for inference: resize, center crop, normalize; plain values, no config."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from resnet_jax.data.augment import device, host
from resnet_jax.errors import InputError
from resnet_jax.runtime.batch import Batch

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Data sets of small images. All others are treated as photographs, with ImageNet's values.
MEAN_STD = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "digits": ((0.3053,) * 3, (0.3760,) * 3),
}
USED_WHOLE = (*MEAN_STD, "fake")  # data sets whose images are never cropped; noise is made at the network's size


@dataclass(frozen=True)
class Preprocessing:
    """The input that a network was trained for: the central square of a resized image, normalized.

    Attributes:
        image_size: pixels a side of the square.
        resize: shorter side of the image before the crop, pixels.
        mean: of R, G, B in [0, 1]; subtracted.
        std: of R, G, B in [0, 1]; divided by.
        interpolation: Pillow's filter of the resizing, antialiased.
    """

    image_size: int = 224
    resize: int = 256
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    def keeps(self, height: int, width: int) -> bool:
        """Return whether an image of this size is used as it is, neither resized nor cropped."""
        return height == width == self.image_size == self.resize

    def at_size(self, image_size: int, resize: int = 0) -> "Preprocessing":
        """Return the same for another square; `resize` 0 keeps the crop's share of the image."""
        return replace(self, image_size=image_size, resize=resize or round(self.resize * image_size / self.image_size))

    def crop(self) -> Callable:
        """Return the center crop: uint8 [H,W,3] -> uint8 [image_size,image_size,3]; it pickles."""
        return partial(
            host.resize_and_center_crop, size=self.image_size, resize=self.resize, interpolation=self.interpolation
        )

    def normalize(self, batch: Batch) -> Batch:
        """Return the batch with "image" uint8 [B,H,W,3] as float32, mean subtracted and divided by std."""
        return device.normalize(batch, mean=self.mean, std=self.std)


def check_crop(preprocessing: Preprocessing, option: str) -> None:
    """Refuse a crop that is larger than the resized image: it would be framed in black.

    Args:
        preprocessing: of images.
        option: the one that gives the shorter side, for the error.

    Raises:
        InputError: it is.
    """
    size, resize = preprocessing.image_size, preprocessing.resize
    if resize < size:
        raise InputError(
            f"--{option}={resize}: the network sees {size} x {size} pixels, more than the shorter side has; "
            f"take {size} or more"
        )
