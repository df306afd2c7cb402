"""Networks with random weights and statistics, ready for export."""

from typing import Any

import jax
import numpy as np

from resnet_jax.data.preprocessing import Preprocessing
from resnet_jax.inference.trained import Trained
from resnet_jax.models.registry import create_model


def random_variables(model: Any, size: int, seed: int = 0) -> Any:
    """Variables of a network: its own kernels, and random statistics, scales and biases."""
    rng = np.random.default_rng(seed)
    images = np.zeros((1, size, size, 3), np.float32)

    def drawn(path: Any, leaf: Any) -> np.ndarray:
        name = path[-1].key
        if name in ("var", "scale"):
            return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        if name in ("mean", "bias"):
            return rng.normal(0, 0.1, leaf.shape).astype(np.float32)
        return np.asarray(leaf)

    return jax.tree_util.tree_map_with_path(drawn, jax.jit(model.init)(jax.random.key(seed), images))


def toy(name: str = "resnet8_cifar", size: int = 16, **options: Any) -> Trained:
    """A trained network as commands load it, of ten classes."""
    model = create_model(name, num_classes=10, **options)
    return Trained(
        name=name,
        model=model,
        variables=random_variables(model, size),
        preprocessing=Preprocessing(size, size + 2, (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)),
        class_names=tuple(f"kind {k}" for k in range(10)),
        source="a toy",
        dataset="digits",
    )
