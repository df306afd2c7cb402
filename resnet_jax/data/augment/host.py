"""Crops and flips of one image on the host, in numpy and Pillow: uint8 [H,W,3] in and out."""

import math
from typing import Literal

import numpy as np
from PIL import Image

from resnet_jax.data.augment.resize import Interpolation, at_least, resize, resized_windows, short_side_size


def random_resized_crop(
    image: np.ndarray,
    size: int,
    rng: np.random.Generator,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    interpolation: Interpolation = "bilinear",
) -> np.ndarray:
    """Crop a random part of the image and resize it to a square (Szegedy et al. 2015), as torchvision does.

    Args:
        image: uint8 [H,W,3].
        size: of the result, pixels.
        rng: source of randomness.
        scale: smallest and largest part of the area.
        ratio: narrowest and widest width / height of the part.
        interpolation: Pillow's filter, antialiased; "random" draws it.

    Returns:
        uint8 [size,size,3].
    """
    top, left, height, width = crop_box(image.shape[0], image.shape[1], rng, scale, ratio)
    # First the crop, then the resize: with Pillow's own box= the filter would read pixels beyond the crop.
    crop = image[top : top + height, left : left + width]
    return resize(crop, size, size, drawn_interpolation(interpolation, rng))


def drawn_interpolation(interpolation: Interpolation, rng: np.random.Generator) -> Interpolation:
    """Return the interpolation; for "random", bilinear or bicubic with equal probability."""
    if interpolation == "random":
        return "bilinear" if rng.random() < 0.5 else "bicubic"
    return interpolation


def crop_box(
    height: int, width: int, rng: np.random.Generator, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Draw (top, left, height, width) of a crop: ten tries, then the largest central one of an allowed ratio."""
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(10):
        area = height * width * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(low, high))
        crop_width, crop_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            top = int(rng.integers(height - crop_height + 1))
            left = int(rng.integers(width - crop_width + 1))
            return top, left, crop_height, crop_width
    crop_height, crop_width = height, width
    if width / height < ratio[0]:
        crop_height = max(1, round(width / ratio[0]))
    elif width / height > ratio[1]:
        crop_width = max(1, round(height * ratio[1]))
    return (height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width


def scale_jitter_crop(
    image: np.ndarray,
    size: int,
    rng: np.random.Generator,
    short_side: tuple[float, float] = (256 / 224, 480 / 224),
    interpolation: Interpolation = "bilinear",
) -> np.ndarray:
    """Resize the image to a random shorter side and crop a random square (He et al. 2015).

    Args:
        image: uint8 [H,W,3].
        size: of the result, pixels.
        rng: source of randomness.
        short_side: smallest and largest shorter side, as multiples of `size`; at least 1.
        interpolation: Pillow's filter, antialiased; "random" draws it.

    Returns:
        uint8 [size,size,3].
    """
    low, high = (round(size * factor) for factor in short_side)
    height, width = short_side_size(image.shape[0], image.shape[1], int(rng.integers(low, high + 1)))
    interpolation = drawn_interpolation(interpolation, rng)
    corner = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
    return resized_windows(image, height, width, [corner], size, interpolation)[0]


def pad_and_crop(
    image: np.ndarray, rng: np.random.Generator, padding: int, mode: Literal["zeros", "reflect"] = "zeros"
) -> np.ndarray:
    """Shift the image [H,W,C] by up to `padding` pixels each way (He et al. 2015).

    The uncovered edge is black, or with "reflect" the image reflected about its outermost pixels.
    """
    height, width = image.shape[:2]
    top, left = (int(offset) for offset in rng.integers(2 * padding + 1, size=2))
    margins = ((padding, padding), (padding, padding), (0, 0))
    padded = np.pad(image, margins, mode="constant" if mode == "zeros" else mode)
    return padded[top : top + height, left : left + width]


def random_flip(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirror the image, uint8 [H,W,3], left to right with probability one half."""
    return mirrored(image) if rng.random() < 0.5 else image


def mirrored(image: np.ndarray) -> np.ndarray:
    """Return the image, uint8 [H,W,3], mirrored left to right.

    Not image[:, ::-1]: of 224 pixels numpy takes 0.22 ms to copy that into its batch, Pillow 0.07 ms to mirror them.
    """
    return np.asarray(Image.fromarray(image).transpose(Image.Transpose.FLIP_LEFT_RIGHT))


def resize_and_center_crop(
    image: np.ndarray, size: int, resize: int, interpolation: Interpolation = "bilinear"
) -> np.ndarray:
    """Resize the shorter side and crop the central square, as torchvision's Resize and CenterCrop do.

    Args:
        image: uint8 [H,W,3].
        size: of the result, pixels; where the resized image is smaller, black is added around it.
        resize: shorter side before the crop, pixels.
        interpolation: Pillow's filter, antialiased.

    Returns:
        uint8 [size,size,3].
    """
    height, width = short_side_size(image.shape[0], image.shape[1], resize)
    center = round(max(0, height - size) / 2), round(max(0, width - size) / 2)
    return at_least(resized_windows(image, height, width, [center], size, interpolation)[0], size)


def resize_and_five_crops(
    image: np.ndarray, size: int, resize: int, interpolation: Interpolation = "bilinear"
) -> np.ndarray:
    """Resize the shorter side and crop the four corners and the center (Krizhevsky et al. 2012).

    Args:
        image: uint8 [H,W,3].
        size: of each crop, pixels; where the resized image is smaller, black is added around it.
        resize: shorter side before the crops, pixels.
        interpolation: Pillow's filter, antialiased.

    Returns:
        uint8 [5,size,size,3]: upper left and right, lower left and right, and the crop of `resize_and_center_crop`.
    """
    height, width = short_side_size(image.shape[0], image.shape[1], resize)
    bottom, right = max(0, height - size), max(0, width - size)
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (round(bottom / 2), round(right / 2))]
    windows = resized_windows(image, height, width, corners, size, interpolation)
    return np.stack([at_least(window, size) for window in windows])
