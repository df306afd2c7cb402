"""Blurs are weighted sums of neighbors, as NumPy computes them."""

from typing import Literal

import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.layers.blurring import binomial_blur, blur_pool


def blurred(x: np.ndarray, mode: Literal["constant", "reflect"]) -> np.ndarray:
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode=mode)
    height, width = x.shape[1:3]
    weights = np.outer([1, 2, 1], [1, 2, 1]) / 16
    shifted = [weights[i, j] * padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return np.sum(shifted, axis=0)


@pytest.mark.parametrize("shape", [(2, 8, 6, 3), (1, 5, 7, 2)])
def test_a_blur_is_binomial(shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    np.testing.assert_allclose(binomial_blur(jnp.asarray(x)), blurred(x, "constant"), atol=1e-6)
    np.testing.assert_allclose(blur_pool(jnp.asarray(x)), blurred(x, "reflect")[:, ::2, ::2], atol=1e-6)


def test_a_constant_image_stays_constant_when_it_is_subsampled():
    np.testing.assert_allclose(blur_pool(jnp.full((1, 6, 6, 1), 3.0)), 3)
