"""Networks with random weights and statistics, as commands load them."""

from functools import cache
from typing import Any

from resnet_jax.data.preprocessing import Preprocessing
from resnet_jax.inference.trained import Trained
from resnet_jax.models.registry import create_model
from tests.random_variables import random_variables


@cache
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
