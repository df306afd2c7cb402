"""The gradient of batch normalization by hand is the automatic one; ReLU's by its output too."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.ops import batch_norm, relu

SHAPES = {"images": (8, 5, 4, 3), "few values": (8, 1, 1, 3), "vectors": (8, 3)}


def gradients(function: Any, x: Any, dtype: Any, group_size: int) -> Any:
    """Output, statistics and gradients of a normalization that is not centered and not scaled to 1."""
    rng = np.random.default_rng(1)
    scale, bias = (jnp.asarray(rng.normal(size=3), jnp.float32) for _ in range(2))
    weights = jnp.asarray(rng.normal(size=x.shape), jnp.float32)

    @partial(jax.jit, static_argnums=0)
    def both(function: Any, x: Any, scale: Any, bias: Any) -> Any:
        def loss(x: Any, scale: Any, bias: Any) -> Any:
            y, mean, var = function(x, scale, bias, group_size, 1e-5, dtype)
            return (jnp.sin(y.astype(jnp.float32)) * weights).sum(), (y, mean, var)

        return jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(x, scale, bias)

    return both(function, x, scale, bias)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("group_size", [8, 4])
def test_the_gradient_is_the_automatic_one(shape, group_size):
    x = jnp.asarray(np.random.default_rng(0).normal(2.0, 3.0, SHAPES[shape]), jnp.float32)
    found = gradients(batch_norm._by_hand, x, jnp.float32, group_size)
    expected = gradients(batch_norm._plain, x, jnp.float32, group_size)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())


def test_of_bfloat16_it_is_that_of_float32_but_for_its_own_rounding():
    x = jnp.asarray(np.random.default_rng(0).normal(2.0, 3.0, SHAPES["images"]), jnp.bfloat16)
    (_, (y, mean, _)), (dx, dscale, _) = gradients(batch_norm._by_hand, x, jnp.bfloat16, 8)
    assert (y.dtype, mean.dtype, dx.dtype, dscale.dtype) == (jnp.bfloat16, jnp.float32, jnp.bfloat16, jnp.float32)
    exact = gradients(batch_norm._plain, x.astype(jnp.float32), jnp.float32, 8)[1][0]
    assert np.linalg.norm(dx.astype(jnp.float32) - exact) < 1e-2 * np.linalg.norm(exact)


def test_a_second_derivative_is_the_automatic_one():
    x = jnp.asarray(np.random.default_rng(0).normal(size=SHAPES["images"]), jnp.float32)

    def second(function: Any) -> Any:
        def loss(x: Any) -> Any:
            return jnp.sin(function(x, jnp.ones(3), jnp.zeros(3), 8, 1e-5, jnp.float32)[0]).sum()

        return jax.jit(jax.grad(lambda x: jnp.square(jax.grad(loss)(x)).sum()))(x)

    np.testing.assert_allclose(second(batch_norm._by_hand), second(batch_norm._plain), rtol=1e-3, atol=1e-4)


def test_relu_by_its_output_has_no_gradient_at_zero():
    x = jnp.array([-1.0, 0.0, 2.0, jnp.nan])
    y, pull_back = jax.vjp(relu._by_output, x)
    np.testing.assert_array_equal(y, [0, 0, 2, jnp.nan])
    (gradient,) = pull_back(jnp.full(4, 3.0))
    np.testing.assert_array_equal(gradient, [0, 0, 3, 0])
