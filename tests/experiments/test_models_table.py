"""docs/models.md: a row for every network, with the numbers of what is built and a proof that exists."""

import re
from pathlib import Path

import pytest

from resnet_jax import create_model, list_models
from resnet_jax.models.counts import abstract_variables, parameter_count
from resnet_jax.models.references import reference

ROOT = Path(__file__).parents[2]


def rows():
    """The cells of every row, by the network's name."""
    lines = (ROOT / "docs" / "models.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if re.match(r"\| \w+ \|", line)]
    return {name: rest for name, *rest in cells if name != "network"}


def test_every_network_has_a_row_and_every_row_a_network():
    assert sorted(rows()) == sorted(list_models())
    assert len(list_models()) >= 60


@pytest.mark.slow
@pytest.mark.parametrize("name", list_models())
def test_a_row_says_what_is_built_and_where_it_is_proved(name):
    parameters, _, size, original, proof = rows()[name]
    variables = abstract_variables(create_model(name), int(size.removesuffix(" px")))
    assert parameters == f"{parameter_count(variables['params']):,}"
    assert (original, proof) == reference(name)
    for file in proof.split(", "):
        assert (ROOT / "tests" / file).is_file()
