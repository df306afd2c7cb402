"""The statistics of normalization, against plain numpy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from resnet_jax.layers.norm import BatchNorm, SingleValueError
from resnet_jax.ops.batch_norm import group_statistics

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


def pooled_values(batch: int) -> np.ndarray:
    """Values after a global pooling: one an image and channel."""
    return np.random.default_rng(5).normal(size=(batch, 1, 1, CHANNELS)).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "group_size"), [((1, 1, 1, CHANNELS), 0), ((8, 1, 1, CHANNELS), 1), ((1, CHANNELS), 0)]
)
def test_a_single_value_per_channel_is_refused_in_training(shape, group_size):
    x, variables = np.ones(shape, np.float32), norm_variables(np.random.default_rng(0))
    with pytest.raises(SingleValueError, match="expected more than 1 value per channel in training") as refusal:
        train_norm(x, variables, group_size=group_size)
    assert isinstance(refusal.value, ValueError)
    assert "\n" not in str(refusal.value)


def test_a_single_value_per_channel_is_normalized_by_running_statistics():
    x, variables = pooled_values(1), norm_variables(np.random.default_rng(0))
    expected = numpy_norm(x, **variables["batch_stats"], params=variables["params"])
    evaluated: Any = BatchNorm(use_running_average=True).apply(variables, x)
    frozen, stats = train_norm(x, variables, frozen=True)
    np.testing.assert_allclose(evaluated, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(frozen, expected, rtol=1e-5, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, stats, variables["batch_stats"])
    initial: Any = BatchNorm(use_running_average=False).init(jax.random.key(0), x)  # a dummy image is enough
    np.testing.assert_array_equal(initial["batch_stats"]["var"], np.ones(CHANNELS))


@pytest.mark.parametrize(("batch", "group_size"), [(2, 0), (4, 2)])
def test_two_pooled_values_are_normalized_by_both(batch, group_size):
    x, variables = pooled_values(batch), norm_variables(np.random.default_rng(0))
    y, _ = train_norm(x, variables, group_size=group_size)
    pairs = x.reshape(-1, 2, CHANNELS)
    mean, var = pairs.mean(axis=1, keepdims=True), pairs.var(axis=1, keepdims=True)
    expected = numpy_norm(pairs, mean, var, variables["params"]).reshape(x.shape)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
