"""ResNets equal torchvision's."""

import pytest

from resnet_jax.weights.rules import rules_for

from .compare import (
    RESNET_STAGES,
    check_evaluation,
    check_three_steps,
    check_training,
    make_pair,
    torchvision,
)

NAMES = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]

LAST_NORM = dict.fromkeys(NAMES[:2], "norm2") | dict.fromkeys(NAMES[2:], "norm3")


def pair_of(name, **options):
    original = torchvision.models.get_model(name, weights=None, num_classes=options.get("num_classes", 1000))
    return make_pair(name, original, rules_for(name), **options)


@pytest.mark.parametrize("name", NAMES)
def test_evaluation(name):
    check_evaluation(pair_of(name), RESNET_STAGES)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_evaluation_of_odd_and_oblong_images(name):
    check_evaluation(pair_of(name, shape=(2, 75, 97), num_classes=7), RESNET_STAGES)


@pytest.mark.parametrize("name", NAMES)
def test_training_mode(name):
    check_training(pair_of(name, steady=True, last_norm=LAST_NORM[name]))


@pytest.mark.parametrize("name", NAMES)
def test_three_steps(name):
    check_three_steps(pair_of(name, steady=True, last_norm=LAST_NORM[name]))
