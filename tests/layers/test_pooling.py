"""Pooling and resizing equal what NumPy computes window by window."""

import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.errors import InputError
from resnet_jax.layers.pooling import (
    adaptive_average_pool,
    average_pool,
    flatten_channels_first,
    max_pool,
    resize_bilinear,
    subsample,
)


def images(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32) - 5


@pytest.mark.parametrize("size", [8, 9])
def test_max_pool_pads_both_sides_as_torch_does(size):
    x = images(size, size)  # negative: zeros would win
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    n = (size - 1) // 2 + 1
    expected = np.zeros((2, n, n, 3), np.float32)
    for i in range(n):
        for j in range(n):
            expected[:, i, j] = padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max(axis=(1, 2))
    np.testing.assert_array_equal(max_pool(jnp.asarray(x)), expected)


@pytest.mark.parametrize(("size", "ceil", "expected"), [(7, False, 3), (7, True, 3), (8, False, 3), (8, True, 4)])
def test_max_pool_rounds_up_where_a_window_overhangs(size, ceil, expected):
    assert max_pool(jnp.zeros((1, size, size, 1)), padding=0, ceil=ceil).shape == (1, expected, expected, 1)


def test_average_pool_leaves_out_what_fills_no_window():
    x = images(5, 6)
    expected = x[:, :4].reshape(2, 2, 2, 3, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(average_pool(jnp.asarray(x)), expected, rtol=1e-6)
    with pytest.raises(InputError, match="images are too small"):
        average_pool(jnp.zeros((1, 1, 4, 1)))


@pytest.mark.parametrize(("height", "width", "size"), [(14, 7, 7), (5, 9, 7), (13, 3, 6)])
def test_adaptive_windows_overlap_or_repeat(height, width, size):
    x = images(height, width)
    expected = np.zeros((2, size, size, 3), np.float32)
    for i in range(size):
        for j in range(size):
            rows = slice(i * height // size, -(-(i + 1) * height // size))
            columns = slice(j * width // size, -(-(j + 1) * width // size))
            expected[:, i, j] = x[:, rows, columns].mean(axis=(1, 2))
    np.testing.assert_allclose(adaptive_average_pool(jnp.asarray(x), size), expected, rtol=1e-5)


def test_channels_are_outermost_in_a_flat_image():
    x = images(2, 3)
    np.testing.assert_array_equal(
        flatten_channels_first(jnp.asarray(x)), [[*one.transpose(2, 0, 1).ravel()] for one in x]
    )


def test_resizing_samples_between_the_centers_of_pixels():
    row = jnp.asarray([0.0, 4.0]).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(resize_bilinear(row, 1, 4).ravel(), [0, 1, 3, 4])
    np.testing.assert_allclose(resize_bilinear(row, 3, 2)[0, :, :, 0], [[0, 4]] * 3)
    x = jnp.asarray(images(6, 6))
    np.testing.assert_allclose(resize_bilinear(x, 2, 2), x[:, 1::3, 1::3], rtol=1e-6)  # no antialiasing


def test_subsampling_begins_with_the_first_pixel():
    x = images(5, 6)
    np.testing.assert_array_equal(subsample(jnp.asarray(x), 2), x[:, ::2, ::2])
