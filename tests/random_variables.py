"""Random variables of any network."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict


@cache
def shapes_of(model: nn.Module, size: int) -> Any:
    """Shapes and types of the variables, traced once for all tests of equal networks."""
    return jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, size, size, 3)))


def random_variables(model: nn.Module, size: int, seed: int = 0) -> dict[str, Any]:
    """Variables none of which is at its initial value, so that a forgotten one shows.

    They are drawn with NumPy: to compile a network's own initializers takes seconds.
    """
    rng = np.random.default_rng(seed)

    def draw(path: tuple[str, ...], leaf: Any) -> np.ndarray:
        if path[-1] in ("var", "scale"):
            return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        spread = np.sqrt(2 / np.prod(leaf.shape[:-1])) if path[-1] == "kernel" else 0.3
        return rng.normal(0, spread, leaf.shape).astype(np.float32)

    return unflatten_dict({path: draw(path, leaf) for path, leaf in flatten_dict(shapes_of(model, size)).items()})
