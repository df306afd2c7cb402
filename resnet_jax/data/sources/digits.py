"""Handwritten digits: real images without a download.

They are the 1,797 test images of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, UCI Machine
Learning Repository, CC BY 4.0), in scikit-learn's order. They lie in this folder, because to import scikit-learn for
them takes more than a second of each start.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from resnet_jax.data.sources.source import ArraySource

FILE = Path(__file__).with_name("digits.npz")


def digits_source(split: Literal["train", "val"]) -> ArraySource:
    """Return the 1,797 digits of 8x8 pixels: 1,437 to train on, 360 held out.

    The held-out set is stratified by class and the same in every run, whatever the run's seed.
    """
    with np.load(FILE) as stored:
        chosen = stored["held_out"] == (split == "val")  # [1797]
        pixels, labels = stored["pixels"][chosen], stored["labels"][chosen]  # [N,8,8] of 0 to 16
    gray = np.round(pixels * (255 / 16)).astype(np.uint8)[..., None]
    return ArraySource(
        images=np.repeat(gray, 3, axis=3),
        labels=labels.astype(np.int32),
        class_names=tuple(str(digit) for digit in range(10)),
        length=len(labels),
    )
