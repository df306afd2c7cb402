"""Torch's geometry and the statistics of normalization, against plain numpy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from resnet_jax.layers.conv import Conv, he_normal_fan_out
from resnet_jax.layers.norm import BatchNorm, group_statistics
from resnet_jax.layers.pooling import max_pool


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


CHANNELS = 3


def norm_variables(rng: np.random.Generator) -> dict:
    """Scale, bias and running statistics that are all different from their initial values."""
    draw = lambda low, high: rng.uniform(low, high, CHANNELS).astype(np.float32)  # noqa: E731
    return {
        "params": {"scale": draw(0.5, 2), "bias": draw(-1, 1)},
        "batch_stats": {"mean": draw(-1, 1), "var": draw(0.5, 2)},
    }


def images(rng: np.random.Generator, batch: int = 8) -> np.ndarray:
    """Activations whose statistics differ from example to example."""
    noise = rng.normal(size=(batch, 4, 4, CHANNELS))
    return (noise * rng.uniform(0.5, 2, (batch, 1, 1, 1)) + rng.normal(size=(batch, 1, 1, 1))).astype(np.float32)


def numpy_norm(x, mean, var, params):
    x, mean, var = (np.asarray(a, np.float64) for a in (x, mean, var))
    return (x - mean) / np.sqrt(var + 1e-5) * params["scale"] + params["bias"]


def train_norm(x, variables, **options) -> tuple[Any, Any]:
    layer = BatchNorm(use_running_average=False, **options)
    y, updates = layer.apply(variables, x, mutable=["batch_stats"])
    return y, updates["batch_stats"]


def test_evaluation_normalizes_by_the_running_statistics():
    rng = np.random.default_rng(0)
    x, variables = images(rng), norm_variables(rng)
    y, updates = BatchNorm(use_running_average=True).apply(variables, x, mutable=["batch_stats"])
    expected = numpy_norm(x, **variables["batch_stats"], params=variables["params"])
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, updates["batch_stats"], variables["batch_stats"])


def test_training_normalizes_by_the_batch_and_keeps_nine_tenths_of_the_running_statistics():
    rng = np.random.default_rng(1)
    x, variables = images(rng), norm_variables(rng)
    y, stats = train_norm(x, variables)
    mean, var = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))  # numpy's variance is the biased one
    np.testing.assert_allclose(y, numpy_norm(x, mean, var, variables["params"]), rtol=1e-4, atol=1e-4)
    old = variables["batch_stats"]
    np.testing.assert_allclose(stats["mean"], 0.9 * old["mean"] + 0.1 * mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(stats["var"], 0.9 * old["var"] + 0.1 * var, rtol=1e-5, atol=1e-6)


@settings(max_examples=8, deadline=None)
@given(group_size=st.sampled_from([1, 2, 4, 8]), seed=st.integers(0, 99))
def test_groups_are_normalized_as_if_each_were_alone(group_size, seed):
    rng = np.random.default_rng(seed)
    x, variables = images(rng), norm_variables(rng)
    y, stats = train_norm(x, variables, group_size=group_size)
    alone = [train_norm(x[i : i + group_size], variables) for i in range(0, len(x), group_size)]
    np.testing.assert_allclose(y, np.concatenate([a for a, _ in alone]), rtol=1e-4, atol=1e-4)
    for name in ("mean", "var"):  # each alone keeps 0.9 of the same old value, so the average is the groups' update
        np.testing.assert_allclose(stats[name], np.mean([s[name] for _, s in alone], axis=0), rtol=1e-5, atol=1e-6)


def test_one_group_of_all_examples_is_the_whole_batch():
    rng = np.random.default_rng(2)
    x, variables = images(rng), norm_variables(rng)
    whole, one_group = train_norm(x, variables), train_norm(x, variables, group_size=8)
    jax.tree.map(np.testing.assert_array_equal, whole, one_group)
    assert np.abs(train_norm(x, variables, group_size=4)[0] - whole[0]).max() > 0.1


def test_a_batch_that_groups_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="8 examples cannot be normalized in groups of 3"):
        train_norm(images(np.random.default_rng(0)), norm_variables(np.random.default_rng(0)), group_size=3)


def test_statistics_of_bfloat16_activations_are_float32():
    # 4096 values near 3: a bfloat16 sum stops growing at 512 or so, a bfloat16 mean has three digits.
    x = jnp.asarray(np.random.default_rng(3).normal(3, 1, (4, 32, 32, CHANNELS)), jnp.bfloat16)
    exact = np.asarray(x, np.float64)
    mean, var = jax.jit(group_statistics, static_argnums=1)(x, 4)
    assert (mean.dtype, var.dtype) == (jnp.float32, jnp.float32)
    np.testing.assert_allclose(mean[0], exact.mean(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(var[0], exact.var(axis=(0, 1, 2)), rtol=1e-4)
    y, stats = train_norm(x, norm_variables(np.random.default_rng(3)), dtype=jnp.bfloat16)
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(stats)} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("group_size", [0, 1, 2, 4])
def test_normalization_does_not_depend_on_the_number_of_devices(group_size):
    rng = np.random.default_rng(4)
    x, variables = images(rng), norm_variables(rng)
    step = jax.jit(lambda v, x: train_norm(x, v, group_size=group_size))
    results = []
    for devices in (1, 8):
        mesh = Mesh(np.array(jax.devices()[:devices]), ("data",))
        sharded = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
        results.append(step(jax.device_put(variables, NamedSharding(mesh, PartitionSpec())), sharded))
    assert len(results[1][0].sharding.device_set) == 8
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), *results)


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
