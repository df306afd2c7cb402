"""Parameters and multiply-adds of every network, kept in a file: to count all takes over a minute."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from resnet_jax.models.counts import abstract_variables, multiply_adds, parameter_count
from resnet_jax.models.registry import create_model

FILE = Path(__file__).with_suffix(".json")


class Counts(NamedTuple):
    """Parameters and multiply-adds of a network.

    Attributes:
        parameters: trained numbers, with the default number of classes.
        multiply_adds: of one image.
        image_size: pixels a side of that image.
    """

    parameters: int
    multiply_adds: int
    image_size: int


def known_counts() -> dict[str, Counts]:
    """Return the counts of all networks by name, as they are kept."""
    return {name: Counts(*counts) for name, counts in json.loads(FILE.read_text("utf-8")).items()}


def count(name: str) -> Counts:
    """Return the counts of a network, computed anew."""
    size = 32 if name.endswith("_cifar") else 224
    model = create_model(name)
    parameters = parameter_count(abstract_variables(model, size)["params"])
    return Counts(parameters, multiply_adds(model, size), size)


def write_counts(counts: Mapping[str, Counts]) -> None:
    """Keep the counts of all networks, one a line."""
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(one)}" for name, one in counts.items())
    FILE.write_text(f"{{\n{lines}\n}}\n", "utf-8")
