"""A barrier to the fusion of XLA:CPU."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax


def compute_unfused(compute: Callable[[], jax.Array]) -> jax.Array:
    """Return `compute()`; XLA:CPU computes its operands once, outside, and fuses nothing of them into it.

    It is the branch of a condition that always holds, which the compiler cannot know. `optimization_barrier` alone is
    no such barrier: it is gone before XLA:CPU fuses (jaxlib 0.10.2).
    """
    shape = jax.eval_shape(compute)
    return lax.cond(lax.optimization_barrier(True), compute, lambda: jnp.zeros(shape.shape, shape.dtype))
