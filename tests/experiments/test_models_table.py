"""The table of networks: each with what is counted, its row in docs/models.md, and a proof that exists."""

from pathlib import Path

import pytest

from experiments import models
from resnet_jax import list_models
from resnet_jax.models.known_counts import count, known_counts
from resnet_jax.models.references import reference

ROOT = Path(__file__).parents[2]
QUICK = {"resnet20_cifar", "highway19_cifar", "resnet18", "alexnet", "vgg11"}


def test_every_network_is_counted():
    assert list(known_counts()) == list(list_models())
    assert len(list_models()) >= 60


def test_the_page_is_what_the_command_prints(capsys):
    models.main(["--markdown"])
    assert capsys.readouterr().out == (ROOT / "docs" / "models.md").read_text()


@pytest.mark.parametrize("name", list_models())
def test_a_network_is_proved_by_tests_that_exist(name):
    for file in reference(name).proof.split(", "):
        assert (ROOT / "tests" / file).is_file()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in list_models()]
)
def test_the_counts_are_those_of_what_is_built(name):
    assert known_counts()[name] == count(name)
