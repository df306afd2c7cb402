"""Resizing of one image on the host, whole or a window of the result: uint8 [H,W,C] in and out."""

import math
from typing import Literal

import numpy as np
from PIL import Image

from resnet_jax.data.augment.opencv_resize import fast_resize
from resnet_jax.errors import InputError

# "random" draws bilinear or bicubic for every image, as timm does; the random crops alone accept it. "fast" is nearly
# bilinear (`fast_resize`).
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "random", "fast"]

# Longer side over shorter side, up to which an image is resized whole: 64 times 256 x 256 pixels are 13 MB.
MAX_ASPECT = 64


def resized_windows(
    image: np.ndarray,
    height: int,
    width: int,
    corners: list[tuple[int, int]],
    size: int,
    interpolation: Interpolation = "bilinear",
) -> list[np.ndarray]:
    """Resize an image and cut windows out of the result, in memory that the windows bound.

    The strips beyond an aspect ratio of MAX_ASPECT are resized window by window: whole, 3 x 65,500 pixels would become
    256 x 5.6 million. Their values equal those of the whole to one level of 255 ("fast" resizes them as bilinear).

    Args:
        image: uint8 [H,W,3].
        height: of the resized image, pixels.
        width: likewise.
        corners: (top, left) of each window in the resized image.
        size: of the windows, pixels; smaller where the resized image is.
        interpolation: Pillow's filter, antialiased.

    Returns:
        uint8 [min(size,height),min(size,width),3] for each corner.
    """
    if max(height, width) <= MAX_ASPECT * min(height, width):
        whole = resize(image, height, width, interpolation)
        return [whole[top : top + size, left : left + size] for top, left in corners]
    if interpolation == "fast":
        interpolation = "bilinear"
    sizes = [(min(size, height - top), min(size, width - left)) for top, left in corners]
    pairs = zip(corners, sizes, strict=True)
    return [resized_window(image, height, width, corner, window, interpolation) for corner, window in pairs]


def resized_window(
    image: np.ndarray,
    height: int,
    width: int,
    corner: tuple[int, int],
    size: tuple[int, int],
    interpolation: Interpolation = "bilinear",
) -> np.ndarray:
    """Compute a window of the resized image alone, equal to that of the whole to one level of 255, on noise to two.

    Args:
        image: uint8 [H,W,3].
        height: of the whole resized image, pixels.
        width: likewise.
        corner: top and left of the window in the resized image.
        size: height and width of the window, which lies within it.
        interpolation: Pillow's filter, antialiased.

    Returns:
        uint8 [*size,3].
    """
    (top, left), (high, wide) = corner, size
    across, down = image.shape[1] / width, image.shape[0] / height  # old pixels for a new one
    # Cut first: Pillow holds the box in single precision, too coarse for the far end of a strip. The margin is the
    # reach of its widest filter, and a pixel for rounding.
    first_row, last_row = _with_margin(top * down, (top + high) * down, down, image.shape[0])
    first_column, last_column = _with_margin(left * across, (left + wide) * across, across, image.shape[1])
    part = Image.fromarray(np.ascontiguousarray(image[first_row:last_row, first_column:last_column]))
    box = (
        left * across - first_column,
        top * down - first_row,
        # Rounding may carry the box beyond the part.
        min((left + wide) * across - first_column, part.width),
        min((top + high) * down - first_row, part.height),
    )
    return np.asarray(part.resize((wide, high), Image.Resampling[interpolation.upper()], box))


def _with_margin(start: float, stop: float, scale: float, length: int) -> tuple[int, int]:
    margin = 3 * max(1.0, scale) + 1
    return max(0, math.floor(start - margin)), min(length, math.ceil(stop + margin))


def at_least(image: np.ndarray, size: int) -> np.ndarray:
    """Pad the image [H,W,C] with black where a side is shorter than `size`."""
    missing = [max(0, size - side) for side in image.shape[:2]]
    if not any(missing):
        return image
    return np.pad(image, [(lack // 2, (lack + 1) // 2) for lack in missing] + [(0, 0)])


def resize_short_side(image: np.ndarray, short: int, interpolation: Interpolation = "bilinear") -> np.ndarray:
    """Resize the image [H,W,3] to a shorter side of `short` pixels."""
    return resize(image, *short_side_size(image.shape[0], image.shape[1], short), interpolation)


def short_side_size(height: int, width: int, short: int) -> tuple[int, int]:
    """Return height and width of an image resized to a shorter side of `short`; the longer one rounds down."""
    if height <= width:
        return short, int(short * width / height)
    return int(short * height / width), short


def resize(image: np.ndarray, height: int, width: int, interpolation: Interpolation = "bilinear") -> np.ndarray:
    """Resize the image [H,W,C] to [height,width,C], antialiased."""
    if interpolation == "random":
        raise InputError("the interpolation random is for the random crops of training; take bilinear or bicubic here")
    if interpolation == "fast":
        return fast_resize(image, height, width)
    resample = Image.Resampling[interpolation.upper()]
    return np.asarray(Image.fromarray(image).resize((width, height), resample))


def resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a mask [H,W] or [H,W,K]; each pixel has the value of the nearest one."""
    return mask_window(mask, height, width, (0, 0), (height, width))


def mask_window(
    mask: np.ndarray, height: int, width: int, corner: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """Compute a window of `resize_mask` alone, with the arguments of `resized_window`: [*size] or [*size,K]."""
    places = zip(mask.shape[:2], (height, width), corner, size, strict=True)
    rows, columns = (  # of whole numbers: in floating point a center that falls on an edge goes either way
        (2 * np.arange(start, start + count) + 1) * old // (2 * new) for old, new, start, count in places
    )
    return mask[rows[:, None], columns]
