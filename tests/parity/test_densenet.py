"""DenseNet equals torchvision's."""

import pytest

from resnet_jax.models.densenet import DenseNet
from tests.parity.reference import Pair, assert_trains_like_original, evaluation_errors, torchvision

NAMES = ["densenet121", "densenet161", "densenet169", "densenet201"]
STAGES = {"stem": "features.relu0", **{f"stage{i}": f"features.denseblock{i}" for i in range(1, 5)}}


def pair(name: str) -> Pair:
    if name == "toy":
        original = torchvision.models.DenseNet(8, (2, 2, 2, 2), 16, num_classes=10)
        return Pair("densenet121", original, STAGES, toy=DenseNet((2, 2, 2, 2), 8, 10, width=16), batch=8)
    original = torchvision.models.get_model(name, num_classes=10)
    return Pair(name, original, STAGES, {"num_classes": 10}, learning_rate=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_evaluation(name):
    errors = evaluation_errors(pair(name))
    assert max(errors.values()) < 1e-4, errors


@pytest.mark.parametrize("name", ["toy", *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES)])
def test_training(name):
    assert_trains_like_original(pair(name))
