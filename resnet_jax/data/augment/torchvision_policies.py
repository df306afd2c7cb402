"""RandAugment, TrivialAugment and AugMix of torchvision: magnitudes are the numbered bins of a range."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from resnet_jax.data.augment.image_ops import BILINEAR, Step, apply_steps


@dataclass(frozen=True)
class Ranges:
    """Magnitudes of the operations at the highest bin; at bin 0 an operation does nothing or little.

    Attributes:
        bins: how many magnitudes there are.
        shear: pixels per pixel.
        move: part of the side.
        move_pixels: pixels added to that, independent of the size of the image.
        turn: degrees.
        factor: largest distance from 1 of brightness, saturation, contrast and sharpness.
        bits: how many Posterize keeps at bin 0 and at the highest.
        identity: whether doing nothing is among the operations.
    """

    bins: int
    shear: float
    move: float
    move_pixels: float
    turn: float
    factor: float
    bits: tuple[int, int]
    identity: bool = True


# Cubuk et al. 2019.
RAND_AUGMENT = Ranges(31, 0.3, 150 / 331, 0, 30.0, 0.9, (8, 4))
# The wide space of Müller and Hutter 2021.
WIDE = Ranges(31, 0.99, 0, 32.0, 135.0, 0.99, (8, 2))
# Hendrycks et al. 2020, with the four operations that its authors left out because their test set has them.
AUGMIX = Ranges(10, 0.3, 1 / 3, 0, 30.0, 0.9, (4, 0), identity=False)

SIGNED = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast", "Sharpness")
OPERATIONS = (*SIGNED, "Posterize", "Solarize", "AutoContrast", "Equalize")


def operations(ranges: Ranges) -> tuple[str, ...]:
    """Return the names of the operations, which are drawn with equal probability."""
    return ("Identity", *OPERATIONS) if ranges.identity else OPERATIONS


def magnitude(ranges: Ranges, name: str, index: int, sign: int, size: tuple[int, int]) -> float:
    """Return an operation's magnitude, in the unit of image_ops.

    Args:
        ranges: of the policy.
        name: of the operation.
        index: of the bin, 0 to ranges.bins - 1.
        sign: 1 or -1, for the operations of SIGNED.
        size: (height, width) of the image.
    """
    part = index / (ranges.bins - 1)
    match name:
        case "ShearX" | "ShearY":
            return sign * part * ranges.shear
        case "TranslateX" | "TranslateY":
            side = size[1] if name == "TranslateX" else size[0]
            # Whole pixels, rounded down. Torchvision's float32 makes 15.999999, and so 15, of WIDE's 16 at bin 15.
            return sign * int(part * (ranges.move * side + ranges.move_pixels) + 1e-6)
        case "Rotate":
            return sign * part * ranges.turn
        case "Brightness" | "Color" | "Contrast" | "Sharpness":
            return 1 + sign * part * ranges.factor
        case "Posterize":
            first, last = ranges.bits
            return first - round(part * (first - last))
        case "Solarize":
            # This order of operations keeps whole thresholds exact.
            return 255 - 255 * index / (ranges.bins - 1)
        case _:
            return 0.0


def draw_step(
    ranges: Ranges, rng: np.random.Generator, index: int, size: tuple[int, int], resample: Image.Resampling
) -> Step:
    """Draw one of the operations and its direction, at a given bin."""
    names = operations(ranges)
    name = names[rng.integers(len(names))]
    sign = 1 if rng.random() < 0.5 else -1
    return Step(name, magnitude(ranges, name, index, sign, size), resample)


@dataclass(frozen=True)
class BinnedRandAugment:
    """`count` operations at one bin of RAND_AUGMENT: (image uint8 [H,W,3], rng) -> uint8 [H,W,3]."""

    count: int = 2
    index: int = 9
    resample: Image.Resampling = BILINEAR

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        steps = self.draw(rng, *image.shape[:2])
        return np.asarray(apply_steps(Image.fromarray(image), steps))

    def draw(self, rng: np.random.Generator, height: int, width: int) -> list[Step]:
        """Draw the operations for one image of that size, in pixels."""
        return [draw_step(RAND_AUGMENT, rng, self.index, (height, width), self.resample) for _ in range(self.count)]


@dataclass(frozen=True)
class TrivialAugment:
    """One operation at any bin of WIDE: (image uint8 [H,W,3], rng) -> uint8 [H,W,3]."""

    resample: Image.Resampling = BILINEAR

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.asarray(apply_steps(Image.fromarray(image), self.draw(rng, *image.shape[:2])))

    def draw(self, rng: np.random.Generator, height: int, width: int) -> list[Step]:
        """Draw the operation for one image of that size, in pixels."""
        return [draw_step(WIDE, rng, int(rng.integers(WIDE.bins)), (height, width), self.resample)]


@dataclass(frozen=True)
class AugMix:
    """The image blended with chains of operations on it: (image uint8 [H,W,3], rng) -> uint8 [H,W,3].

    The consistency loss of the paper is not part of it.

    Attributes:
        severity: bins below this one are drawn.
        width: how many chains.
        depth: operations in a chain; where it is not positive, 1 to 3 are drawn for each.
        alpha: of the Beta and Dirichlet distributions of the weights.
        resample: of the geometric operations.
    """

    severity: int = 3
    width: int = 3
    depth: int = -1
    alpha: float = 1.0
    resample: Image.Resampling = BILINEAR

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        kept, weights, chains = self.draw(rng, *image.shape[:2])
        start = Image.fromarray(image)
        mixed = np.float32(kept) * image
        for weight, steps in zip(weights, chains, strict=True):
            mixed += np.float32(weight) * np.asarray(apply_steps(start, steps), np.float32)
        # Torchvision truncates, which darkens by half a level on average.
        return np.rint(mixed).clip(0, 255).astype(np.uint8)

    def draw(self, rng: np.random.Generator, height: int, width: int) -> tuple[float, np.ndarray, list[list[Step]]]:
        """Draw the image's own weight, the chains' weights [width] and the chains, for one image of that size."""
        kept = float(rng.beta(self.alpha, self.alpha))
        weights = (1 - kept) * rng.dirichlet([self.alpha] * self.width)
        chains = []
        for _ in range(self.width):
            depth = self.depth if self.depth > 0 else int(rng.integers(1, 4))
            indices = rng.integers(self.severity, size=depth)
            chains.append([draw_step(AUGMIX, rng, int(i), (height, width), self.resample) for i in indices])
        return kept, weights, chains
