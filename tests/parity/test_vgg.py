"""VGG equals torchvision's."""

import pytest

from resnet_jax.models.vgg import GROUPS
from tests.parity.reference import Pair, assert_trains_like_original, evaluation_errors, torch, torchvision

NAMES = [f"vgg{depth}{suffix}" for depth in (11, 13, 16, 19) for suffix in ("", "_bn")]


def pair(name: str) -> Pair:
    original = torchvision.models.get_model(name, num_classes=10, dropout=0.0)
    pools = [i for i, module in enumerate(original.features) if isinstance(module, torch.nn.MaxPool2d)]
    stages = {group: f"features.{pool - 1}" for group, pool in zip(GROUPS, pools, strict=True)}
    return Pair(name, original, stages | {"hidden": "classifier.4"}, {"num_classes": 10, "dropout": 0.0})


@pytest.mark.parametrize("name", NAMES)
def test_evaluation(name):
    errors = evaluation_errors(pair(name))
    assert max(errors.values()) < 1e-4, errors


@pytest.mark.parametrize(
    "name", [name if name == "vgg11_bn" else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_training(name):
    assert_trains_like_original(pair(name))
