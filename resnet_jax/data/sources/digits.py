"""scikit-learn's handwritten digits: real images without a download."""

from typing import Literal

import numpy as np

from resnet_jax.data.sources.source import ArraySource

HELD_OUT = 360


def digits_source(split: Literal["train", "val"]) -> ArraySource:
    """Return the 1,797 digits of 8x8 pixels: 1,437 to train on, 360 held out.

    The held-out set is stratified by class and the same in every run, whatever the run's seed.
    """
    # Imported late: scikit-learn takes most of a second.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)  # [1797,64], 0 to 16
    parts = train_test_split(np.arange(len(labels)), test_size=HELD_OUT, stratify=labels, random_state=0)
    chosen = np.sort(parts[("train", "val").index(split)])
    gray = np.round(pixels[chosen] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    return ArraySource(
        images=np.repeat(gray, 3, axis=3),
        labels=labels[chosen].astype(np.int32),
        class_names=tuple(str(digit) for digit in range(10)),
        length=len(chosen),
    )
