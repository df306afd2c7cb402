"""FCN on a dilated ResNet equals torchvision's, auxiliary head included."""

from typing import Any

import pytest

from tests.parity.reference import Pair, assert_trains_like_original, evaluation_errors, torch, torchvision

STAGES = {"stem": "backbone.relu", **{f"stage{i}": f"backbone.layer{i}" for i in range(1, 5)}}


def pair(name: str, image_size: int = 65) -> Pair:
    original = torchvision.models.get_model(name, weights_backbone=None, num_classes=5, aux_loss=True)
    for module in original.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    options = {"num_classes": 5, "dropout": 0.0}
    sizes = {"image_size": image_size, "batch": 2, "learning_rate": 1e-5}
    return Pair(name, original, STAGES, options, logits_of=logits_of, **sizes)


def logits_of(output: Any) -> dict[str, Any]:
    return {"logits": output["out"], "aux1": output["aux"]}


# 65 and 100 are not multiples of the stride, so that resizing has other weights at every pixel.
@pytest.mark.parametrize(("name", "image_size"), [("fcn_resnet50", 65), ("fcn_resnet50", 100), ("fcn_resnet101", 64)])
def test_evaluation(name, image_size):
    errors = evaluation_errors(pair(name, image_size))
    assert max(errors.values()) < 1e-4, errors


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fcn_resnet50", "fcn_resnet101"])
def test_training(name):
    assert_trains_like_original(pair(name))
