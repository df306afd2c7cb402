"""Antialiased bilinear resizing by OpenCV, close to Pillow's in less than half of the time: for training crops."""

import math
from functools import cache
from typing import Any

import numpy as np

from resnet_jax.errors import InputError


def fast_resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize the image [H,W,C] to [height,width,C], antialiased.

    Equal to Pillow's bilinear resizing to one level where the image grows. Where it shrinks, Pillow weights the pixels
    around every new one by a triangle; here they are blurred first and then interpolated, with the same mean width. On
    random crops of 64 images of ImageNet at 224 pixels the two differ by 0.7 levels of 255 in the mean, and by 14 or
    less in 99.9 % of the values (with the faster decoding that goes with it, by 1.5 and 15).

    Args:
        image: uint8 [H,W,C].
        height: of the result, pixels.
        width: of the result, pixels.

    Raises:
        InputError: OpenCV is not installed.
    """
    cv2 = opencv()
    down, across = (blur(old / new) for old, new in zip(image.shape[:2], (height, width), strict=True))
    if len(down) > 1 or len(across) > 1:
        image = cv2.sepFilter2D(image, -1, across, down, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def blur(scale: float) -> np.ndarray:
    """Return the kernel that widens linear interpolation to Pillow's triangle: float32 [2n+1], of sum 1.

    The triangle of half-width s, in pixels of the old image, has the variance s^2 / 6, and linear interpolation is that
    of half-width 1: the kernel supplies the difference, as three values up to s = 2, as a triangle beyond.

    Args:
        scale: old size / new size, s.
    """
    missing = (scale**2 - 1) / 6
    if missing <= 0:
        return np.ones(1, np.float32)
    if scale <= 2:
        return np.array([missing / 2, 1 - missing, missing / 2], np.float32)
    half = math.sqrt(6 * missing)
    reach = math.ceil(half)
    triangle = np.maximum(0, half - np.abs(np.arange(-reach, reach + 1)))
    return (triangle / triangle.sum()).astype(np.float32)


@cache
def opencv() -> Any:
    """Import OpenCV and switch its threads off: the pipeline has a worker for every core.

    Raises:
        InputError: it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise InputError("--train_interpolation=fast needs OpenCV: pip install 'residual-jax[fast]'") from error
    cv2.setNumThreads(0)
    return cv2
