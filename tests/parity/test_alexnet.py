"""AlexNet equals torchvision's."""

import pytest

from tests.parity.reference import Pair, assert_trains_like_original, evaluation_errors, torchvision

STAGES = {"stem": "features.1", "stage1": "features.4", "stage2": "features.11", "hidden": "classifier.5"}


def pair(name: str, image_size: int = 96) -> Pair:
    original = torchvision.models.alexnet(num_classes=10, dropout=0.0)
    return Pair(name, original, STAGES, {"num_classes": 10, "dropout": 0.0}, image_size=image_size)


# 96 is averaged up from 2x2 to the 6x6 of the dense layers, 224 is 6x6 already, 257 is averaged down.
@pytest.mark.parametrize("image_size", [96, 224, 257])
def test_evaluation(image_size):
    errors = evaluation_errors(pair("alexnet", image_size))
    assert max(errors.values()) < 1e-4, errors


@pytest.mark.slow
def test_training():
    assert_trains_like_original(pair("alexnet"))
