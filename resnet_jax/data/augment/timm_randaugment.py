"""RandAugment of timm: levels 0 to 10, noise on the level, each operation applied or not (Wightman 2021)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from resnet_jax.data.augment.image_ops import BICUBIC, BILINEAR, GEOMETRY, Color, Step, apply_steps

# The level of the largest magnitudes below.
FULL = 10.0

# ImageNet's mean color, timm's color beyond the edges.
IMAGENET_MEAN: Color = (124, 116, 104)


# (level, sign 1 or -1) -> the operation's magnitude.
def _scaled(level: float, sign: int, largest: float) -> float:
    return sign * level / FULL * largest


def _factor(level: float, sign: int) -> float:
    return level / FULL * 1.8 + 0.1


def _factor_increasing(level: float, sign: int) -> float:
    return max(0.1, 1.0 + sign * (level / FULL * 0.9))


def _bits(level: float, sign: int) -> float:
    return int(level / FULL * 4)


def _bits_increasing(level: float, sign: int) -> float:
    return 4 - int(level / FULL * 4)


def _threshold(level: float, sign: int) -> float:
    return min(256, int(level / FULL * 256))


def _threshold_increasing(level: float, sign: int) -> float:
    return 256 - min(256, int(level / FULL * 256))


def _added(level: float, sign: int) -> float:
    return min(128, int(level / FULL * 110))


def _none(level: float, sign: int) -> float:
    return 0.0


Magnitude = Callable[[float, int], float]

_ALWAYS: dict[str, Magnitude] = {
    "AutoContrast": _none,
    "Equalize": _none,
    "Invert": _none,
    "Rotate": partial(_scaled, largest=30.0),
    "SolarizeAdd": _added,
    "ShearX": partial(_scaled, largest=0.3),
    "ShearY": partial(_scaled, largest=0.3),
    "TranslateXRel": partial(_scaled, largest=0.45),
    "TranslateYRel": partial(_scaled, largest=0.45),
}

# As in AutoAugment's code, where a higher level makes some operations weaker.
MAGNITUDES: dict[str, Magnitude] = {
    **_ALWAYS,
    "Posterize": _bits,
    "Solarize": _threshold,
    **dict.fromkeys(("Color", "Contrast", "Brightness", "Sharpness"), _factor),
}

# A higher level is always stronger: `inc1`.
INCREASING_MAGNITUDES: dict[str, Magnitude] = {
    **_ALWAYS,
    "Posterize": _bits_increasing,
    "Solarize": _threshold_increasing,
    **dict.fromkeys(("Color", "Contrast", "Brightness", "Sharpness"), _factor_increasing),
}


@dataclass(frozen=True)
class RandAugment:
    """A policy: (image uint8 [H,W,3], rng) -> uint8 [H,W,3].

    Attributes:
        level: of every operation, before the noise.
        count: how many operations are drawn for an image, with replacement.
        std: of the noise on the level; infinite draws it uniformly from 0 to `level`.
        highest: upper limit of the level; the lower one is 0.
        increasing: whether the tables are INCREASING_MAGNITUDES.
        probability: with which each operation drawn is applied.
        fill: color beyond the edges.
    """

    level: float = FULL
    count: int = 2
    std: float = 0.0
    highest: float = FULL
    increasing: bool = False
    probability: float = 0.5
    fill: Color = IMAGENET_MEAN

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        steps = self.draw(rng)
        return np.asarray(apply_steps(Image.fromarray(image), steps, self.fill)) if steps else image

    def draw(self, rng: np.random.Generator) -> list[Step]:
        """Draw the operations for one image; geometric ones are bilinear or bicubic at random."""
        magnitudes = INCREASING_MAGNITUDES if self.increasing else MAGNITUDES
        names = tuple(magnitudes)
        steps = []
        for _ in range(self.count):
            name = names[rng.integers(len(names))]
            if rng.random() >= self.probability:
                continue
            level = rng.uniform(0, self.level) if math.isinf(self.std) else rng.normal(self.level, self.std)
            sign = 1 if rng.random() < 0.5 else -1
            magnitude = magnitudes[name](max(0.0, min(level, self.highest)), sign)
            bicubic = name in GEOMETRY and rng.random() < 0.5
            steps.append(Step(name, magnitude, BICUBIC if bicubic else BILINEAR))
        return steps
