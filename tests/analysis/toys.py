"""Small networks with random variables, for tests of what is measured in networks."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from resnet_jax.models.resnet.blocks import BasicBlock
from resnet_jax.models.resnet.resnet import ResNet

SIZE = 8


def toy(block: Any = BasicBlock, stage_sizes: tuple[int, ...] = (2, 2), **options: Any) -> Any:
    defaults: dict[str, Any] = {"num_classes": 3, "width": 4, "stem": "cifar", "shortcut": "A"}
    return ResNet(stage_sizes, block, **(defaults | options))


@cache
def shapes_of(model: nn.Module) -> Any:
    """Shapes and types of the variables, traced once for all tests of equal networks."""
    return jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, SIZE, SIZE, 3)))


def random_variables(model: nn.Module, seed: int = 0) -> dict[str, Any]:
    """Variables none of which is at its initial value, so that a forgotten one shows."""
    rng = np.random.default_rng(seed)

    def draw(path: tuple[str, ...], leaf: Any) -> np.ndarray:
        if path[-1] in ("var", "scale"):
            return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        spread = np.sqrt(2 / np.prod(leaf.shape[:-1])) if path[-1] == "kernel" else 0.3
        return rng.normal(0, spread, leaf.shape).astype(np.float32)

    return unflatten_dict({path: draw(path, leaf) for path, leaf in flatten_dict(shapes_of(model)).items()})


def random_examples(number: int, seed: int = 1) -> tuple[Any, Any]:
    """Images float32 [N,8,8,3] and labels int32 [N] of three classes."""
    rng = np.random.default_rng(seed)
    # A color of its own for each image: averaged over its places, noise alone would look the same to any network.
    images = rng.normal(size=(number, SIZE, SIZE, 3)) + 2 * rng.normal(size=(number, 1, 1, 3))
    return images.astype(np.float32), rng.integers(0, 3, number).astype(np.int32)


def undecided_variables(model: nn.Module, images: np.ndarray) -> dict[str, Any]:
    """Random variables with which every class is as probable on the average, so that a change shows in the error."""
    variables = random_variables(model)
    variables["params"]["head"]["bias"] -= np.asarray(jax.jit(model.apply)(variables, images)).mean(axis=0)
    return variables
