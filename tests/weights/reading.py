"""Weights as the tests look at them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from resnet_jax.weights.formats import read_file
from resnet_jax.weights.layout import to_variables
from resnet_jax.weights.torch_layout import Rules, torch_layout


def read_tensors(path: str | Path, weights_key: str = "") -> dict[str, np.ndarray]:
    """The tensors of a file by name."""
    return read_file(path, weights_key).tensors


def from_torch(tensors: Mapping[str, np.ndarray], shapes: Any, rules: Rules) -> Any:
    """Variables of those shapes from a state dict of numpy arrays."""
    return to_variables(tensors, shapes, torch_layout(rules))
