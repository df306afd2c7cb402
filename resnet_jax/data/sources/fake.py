"""Random images in the shape and number of ImageNet, for speed measurements and trial commands without data."""

from typing import Literal

import numpy as np

from resnet_jax.data.sources.source import ArraySource

NUM_CLASSES = 1000
DISTINCT = 64
LENGTH = {"train": 1_281_167, "val": 256}


def fake_source(split: Literal["train", "val"], image_size: int) -> ArraySource:
    """Return 64 random images [image_size,image_size,3], repeated to ImageNet's length; 0 is 224 pixels."""
    size = image_size or 224
    rng = np.random.default_rng(("train", "val").index(split))
    return ArraySource(
        images=rng.integers(0, 256, (DISTINCT, size, size, 3), np.uint8),
        labels=rng.integers(0, NUM_CLASSES, DISTINCT, np.int32),
        class_names=tuple(f"class{label:03}" for label in range(NUM_CLASSES)),
        length=LENGTH[split],
    )
