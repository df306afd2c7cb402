"""DenseNet equals torchvision's."""

import pytest

pytest.importorskip("torch", reason="the originals are torch's: pip install torch torchvision")
torchvision = pytest.importorskip("torchvision", reason="the originals are torchvision's", exc_type=ImportError)

from resnet_jax.weights.rules.densenet import RULES
from tests.parity.reference import Pair, evaluation_errors, training_errors

STAGES = {"stem": "features.relu0", **{f"stage{i}": f"features.denseblock{i}" for i in range(1, 5)}}


def pair(name: str) -> Pair:
    original = torchvision.models.get_model(name, num_classes=10)
    return Pair(name, original, RULES, STAGES, {"num_classes": 10}, image_size=64)


@pytest.mark.parametrize("name", ["densenet121", "densenet161", "densenet169", "densenet201"])
def test_evaluation(name, record_property):
    errors = evaluation_errors(pair(name))
    record_property("errors", str(errors))
    assert max(errors.values()) < 1e-4, errors


@pytest.mark.parametrize("name", ["densenet121"])
def test_training(name, record_property):
    errors = training_errors(pair(name))
    record_property("errors", str(errors))
    print(errors)
    assert max(errors.values()) < 1e-3, errors
