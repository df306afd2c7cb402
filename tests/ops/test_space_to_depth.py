"""The stem on blocks of pixels is the stem."""

import jax
import numpy as np
import pytest

from resnet_jax.ops.space_to_depth import convolve_in_blocks


def at_stride_2(x, kernel, padding):
    return jax.lax.conv_general_dilated(
        x, kernel, (2, 2), ((padding, padding),) * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@pytest.mark.parametrize(
    ("size", "padding", "height", "width"),
    [(7, 3, 32, 20), (3, 1, 16, 16), (5, 2, 18, 16), (3, 0, 16, 12), (7, 2, 16, 16), (2, 0, 8, 8), (2, 1, 8, 8)],
)
def test_values_and_gradients(size, padding, height, width):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, height, width, 3)).astype(np.float32)
    kernel = rng.normal(size=(size, size, 3, 4)).astype(np.float32)
    g = rng.normal(size=(2, (height + 2 * padding - size) // 2 + 1, (width + 2 * padding - size) // 2 + 1, 4))

    @jax.jit
    def both(x, kernel, g):
        expected, expected_back = jax.vjp(lambda x, k: at_stride_2(x, k, padding), x, kernel)
        found, back = jax.vjp(lambda x, k: convolve_in_blocks(x, k, padding), x, kernel)
        return expected, found, expected_back(g), back(g)

    expected, found, expected_gradients, gradients = both(x, kernel, g.astype(np.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
