"""Images that a whitening layer cannot be computed from."""

import numpy as np

from resnet_jax.layers.whitening import is_gray


def test_images_without_color_are_gray_whatever_their_normalization():
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype(np.float32) / 255
    gray = (images.mean(axis=-1, keepdims=True) - np.array([0.5, 0.4, 0.3])) / np.array([0.2, 0.3, 0.25])
    assert is_gray(gray.astype(np.float32))
    assert not is_gray(images)
    assert not is_gray((0.97 * gray + 0.03 * images).astype(np.float32))
