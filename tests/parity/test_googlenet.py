"""GoogLeNet equals torchvision's, auxiliary heads included."""

from typing import Any

import pytest

from tests.parity.reference import Pair, assert_trains_like_original, evaluation_errors, torchvision

STAGES = {
    "stem": "conv1",
    "stage1": "conv3",
    "stage2": "inception3b",
    "stage3": "inception4e",
    "stage4": "inception5b",
}


def pair(name: str, image_size: int = 96, aux_heads: bool = True) -> Pair:
    original = torchvision.models.googlenet(
        num_classes=10, aux_logits=aux_heads, init_weights=False, dropout=0.0, dropout_aux=0.0
    )
    options = {"num_classes": 10, "aux_heads": aux_heads, "dropout": 0.0, "aux_dropout": 0.0}
    return Pair(name, original, STAGES, options, image_size=image_size, learning_rate=1e-5, logits_of=logits_of)


def logits_of(output: Any) -> dict[str, Any]:
    if hasattr(output, "aux_logits1"):  # in training
        return {"logits": output.logits, "aux1": output.aux_logits1, "aux2": output.aux_logits2}
    return {"logits": output}


# 96 and 101 pool windows that overhang the image, 128 and 224 at other places.
@pytest.mark.parametrize("image_size", [96, 101, 128, 224])
@pytest.mark.parametrize("aux_heads", [True, False])
def test_evaluation(image_size, aux_heads):
    errors = evaluation_errors(pair("googlenet", image_size, aux_heads))
    assert max(errors.values()) < 1e-4, errors


def test_training():
    assert_trains_like_original(pair("googlenet"))
