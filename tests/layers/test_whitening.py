"""Images that a whitening layer cannot be computed from."""

import numpy as np
import pytest

from resnet_jax.errors import InputError
from resnet_jax.layers.whitening import whitening_kernel


def test_images_without_color_are_refused_whatever_their_normalization():
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype(np.float32) / 255
    gray = (images.mean(axis=-1, keepdims=True) - np.array([0.5, 0.4, 0.3])) / np.array([0.2, 0.3, 0.25])
    with pytest.raises(InputError, match="whitens colors, and the images have none"):
        whitening_kernel(gray.astype(np.float32))
    for colored in (images, 0.97 * gray + 0.03 * images):
        assert np.isfinite(whitening_kernel(colored.astype(np.float32))).all()
