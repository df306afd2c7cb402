"""Small networks with random variables, for tests of what is measured in networks."""

from typing import Any

import jax
import numpy as np
from flax import linen as nn

from resnet_jax.models.resnet.blocks import BasicBlock
from resnet_jax.models.resnet.resnet import ResNet
from tests.random_variables import random_variables as random_variables_for

SIZE = 8


def toy(block: Any = BasicBlock, stage_sizes: tuple[int, ...] = (2, 2), **options: Any) -> Any:
    defaults: dict[str, Any] = {"num_classes": 3, "width": 4, "stem": "cifar", "shortcut": "A"}
    return ResNet(stage_sizes, block, **(defaults | options))


def random_variables(model: nn.Module, seed: int = 0) -> dict[str, Any]:
    """Variables for images of SIZE pixels a side, none of which is at its initial value."""
    return random_variables_for(model, SIZE, seed)


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
