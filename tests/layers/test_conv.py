"""The convolution: torch's geometry, against plain numpy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.layers.conv import Conv, he_normal_fan_out


def naive_conv(x: np.ndarray, kernel: np.ndarray, strides: int) -> np.ndarray:
    """Torch's definition, one output pixel at a time: x [B,H,W,C], kernel [k,k,C,D], k // 2 zeros on every side."""
    k = kernel.shape[0]
    pad = k // 2
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    height, width = ((n - k) // strides + 1 for n in x.shape[1:3])
    y = np.zeros((x.shape[0], height, width, kernel.shape[-1]))
    for i in range(height):
        for j in range(width):
            window = x[:, i * strides : i * strides + k, j * strides : j * strides + k]
            y[:, i, j] = np.einsum("bhwc,hwcd->bd", window, kernel)
    return y


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("kernel_size", [1, 3, 7])
def test_a_strided_convolution_pads_both_sides_as_torch_does(size, kernel_size):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, size, size, 3)).astype(np.float32)
    layer: Any = Conv(4, kernel_size, 2)
    variables = layer.init(jax.random.key(0), x)
    expected = naive_conv(x, np.asarray(variables["params"]["kernel"]), 2)
    np.testing.assert_allclose(layer.apply(variables, x), expected, rtol=1e-4, atol=1e-5)


def test_same_padding_would_give_other_numbers_at_stride_2():
    x = jax.random.normal(jax.random.key(0), (1, 8, 8, 3))
    layer: Any = Conv(4, 3, 2)
    variables = layer.init(jax.random.key(1), x)
    same = jax.lax.conv_general_dilated(
        x, variables["params"]["kernel"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    ours = layer.apply(variables, x)
    assert same.shape == ours.shape
    assert jnp.abs(same - ours).max() > 0.1


def test_a_convolution_computes_in_its_dtype_and_stores_float32():
    x = jnp.ones((1, 4, 4, 3))
    both: Any = Conv(4, 3, dtype=jnp.bfloat16).init_with_output(jax.random.key(0), x)
    y, variables = both
    assert y.dtype == jnp.bfloat16
    assert variables["params"]["kernel"].dtype == jnp.float32


def test_kernels_start_with_variance_two_over_fan_out():
    kernel = he_normal_fan_out(jax.random.key(0), (3, 3, 16, 256), jnp.float32)
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / (9 * 256)), rtol=0.02)
    # A normal distribution that is cut off at two deviations has no value beyond 2.3 after rescaling.
    assert jnp.abs(kernel).max() > 3.5 * kernel.std()


def test_strided_convolutions_of_ffcv_read_a_blurred_image():
    x = np.random.default_rng(0).normal(size=(2, 7, 8, 16)).astype(np.float32)
    line = np.array([1, 2, 1]) / 4
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    blurred = sum(
        line[i] * line[j] * padded[:, i : i + x.shape[1], j : j + x.shape[2]] for i in range(3) for j in range(3)
    )
    plain, blurring = Conv(4, 3, 2), Conv(4, 3, 2, blur=True)
    variables = plain.init(jax.random.key(0), jnp.asarray(x))
    want = plain.apply(variables, jnp.asarray(blurred, jnp.float32))
    np.testing.assert_allclose(
        np.asarray(blurring.apply(variables, jnp.asarray(x))), np.asarray(want), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(("channels", "strides"), [(15, 2), (16, 1)])
def test_few_channels_and_stride_one_are_not_blurred(channels, strides):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, channels)), jnp.float32)
    plain, blurring = Conv(4, 3, strides), Conv(4, 3, strides, blur=True)
    variables = plain.init(jax.random.key(0), x)
    np.testing.assert_array_equal(np.asarray(blurring.apply(variables, x)), np.asarray(plain.apply(variables, x)))
