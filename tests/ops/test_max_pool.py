from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from resnet_jax.ops import max_pool as module
from resnet_jax.ops.max_pool import window_max


def whole_numbers(seed, shape):
    """Few of them, so that windows hold their maximum several times."""
    return jnp.asarray(np.random.default_rng(seed).integers(-1, 2, shape), jnp.float32)


@partial(jax.jit, static_argnums=0)
def value_and_gradient(pool, x):
    y, pull_back = jax.vjp(pool, x)
    return y, *pull_back(whole_numbers(1, y.shape).astype(y.dtype))


def assert_same(got, expected):
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a, np.float32), np.asarray(b, np.float32))


def both(**geometry):
    return partial(window_max, **geometry), partial(module._plain, **geometry)


@pytest.mark.slow
@settings(deadline=None, max_examples=10, derandomize=True)
@given(
    size=st.integers(1, 4),
    strides=st.integers(1, 3),
    pads=st.tuples(*[st.tuples(st.integers(0, 1), st.integers(0, 2))] * 2),
    height=st.integers(5, 8),
    width=st.integers(5, 8),
)
def test_ties_go_where_xla_sends_them(size, strides, pads, height, width):
    ours, theirs = both(size=size, strides=strides, pads=pads)
    x = whole_numbers(0, (2, height, width, 3))
    assert_same(value_and_gradient(ours, x), value_and_gradient(theirs, x))


GEOMETRY = {"size": 3, "strides": 2, "pads": ((1, 1), (1, 1))}


def test_under_jit_vmap_scan_and_checkpoint():
    ours, theirs = both(**GEOMETRY)
    x = whole_numbers(0, (3, 2, 9, 8, 3))
    expected = [value_and_gradient(theirs, part) for part in x]
    stacked = [jnp.stack(parts) for parts in zip(*expected, strict=True)]
    assert_same(jax.jit(jax.vmap(partial(value_and_gradient, ours)))(x), stacked)
    assert_same(jax.jit(partial(value_and_gradient, jax.checkpoint(ours)))(x[0]), expected[0])
    assert_same(jax.jit(partial(jax.lax.map, partial(value_and_gradient, ours)))(x), stacked)


def test_hessian_vector_product():
    @partial(jax.jit, static_argnums=0)
    def product(pool, x):
        return jax.jvp(jax.grad(lambda x: (pool(x) ** 3).sum()), (x,), (x + 1,))[1]

    ours, theirs = both(**GEOMETRY)
    x = whole_numbers(0, (2, 9, 8, 3))
    assert_same([product(ours, x)], [product(theirs, x)])


def test_bfloat16():
    ours, theirs = both(**GEOMETRY)
    x = whole_numbers(0, (2, 9, 8, 3)).astype(jnp.bfloat16)
    assert_same(value_and_gradient(ours, x), value_and_gradient(theirs, x))


def test_not_a_number_is_passed_on():
    y, gradient = value_and_gradient(both(**GEOMETRY)[0], jnp.full((1, 4, 4, 1), jnp.nan))
    assert jnp.isnan(y).all()
    assert jnp.isfinite(gradient).all()


def test_a_sharded_batch_exchanges_nothing():
    sharded = NamedSharding(Mesh(np.array(jax.devices()), ("batch",)), PartitionSpec("batch"))
    ours, theirs = both(**GEOMETRY)
    x = whole_numbers(0, (16, 6, 6, 3))
    step = jax.jit(partial(value_and_gradient, ours), in_shardings=sharded, out_shardings=sharded)
    assert_same(step(x), value_and_gradient(theirs, x))
    program = step.lower(x).compile().as_text() or ""
    assert not any(name in program for name in ("all-reduce", "all-gather", "all-to-all", "collective-permute"))
