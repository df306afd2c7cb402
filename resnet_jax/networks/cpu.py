"""Where networks are written otherwise for CPUs, and a border for XLA:CPU's fusion."""

import os
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax


def for_cpu() -> bool:
    """Whether what is traced now takes the forms that are fast on CPUs: where the default backend is one.

    With RESNET_JAX_PLAIN=1 in the environment it does not, so that a program can measure both forms.
    """
    return jax.default_backend() == "cpu" and os.environ.get("RESNET_JAX_PLAIN", "0") in ("", "0")


def apart(compute: Callable[[], jax.Array]) -> jax.Array:
    """What `compute` gives; XLA:CPU computes what goes into it once, and fuses nothing of it into `compute`.

    It is the branch of a condition of which the compiler does not see that it always holds. `optimization_barrier`
    alone is no such border: it is gone before XLA:CPU fuses (jaxlib 0.10.2).
    """
    shape = jax.eval_shape(compute)
    return lax.cond(lax.optimization_barrier(True), compute, lambda: jnp.zeros(shape.shape, shape.dtype))
