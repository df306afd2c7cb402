from dataclasses import dataclass
from typing import Literal

MEAN_STD = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "digits": ((0.3053,) * 3, (0.3760,) * 3),
}


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """What a network expects to see: the central square of a resized image, normalized.

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
