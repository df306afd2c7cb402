import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.layers.pooling import max_pool


@pytest.mark.parametrize("size", [8, 9])
def test_max_pool_pads_both_sides_as_torch_does(size):
    x = np.random.default_rng(0).normal(size=(2, size, size, 3)).astype(np.float32) - 5  # zeros would win
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    n = (size - 1) // 2 + 1
    expected = np.zeros((2, n, n, 3), np.float32)
    for i in range(n):
        for j in range(n):
            expected[:, i, j] = padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max(axis=(1, 2))
    np.testing.assert_array_equal(max_pool(jnp.asarray(x)), expected)
