"""The digits are scikit-learn's, and so is the choice of those that are held out."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from resnet_jax.data.sources.digits import digits_source


@pytest.mark.parametrize(("split", "count"), [("train", 1437), ("val", 360)])
def test_images_labels_and_split_are_scikit_learns(split, count):
    pixels, labels = load_digits(return_X_y=True)
    parts = train_test_split(np.arange(len(labels)), test_size=360, stratify=labels, random_state=0)
    chosen = np.sort(parts[("train", "val").index(split)])
    source = digits_source(split)
    assert source.length == len(source.labels) == count
    np.testing.assert_array_equal(source.labels, labels[chosen])
    assert source.images.dtype == np.uint8
    for channel in range(3):
        expected = np.round(pixels[chosen] * (255 / 16)).reshape(-1, 8, 8)
        np.testing.assert_array_equal(source.images[..., channel], expected)
