"""The U-Net on a ResNet equals that of segmentation_models_pytorch, with bilinear resizing."""

import pytest

from tests.parity.reference import Pair, assert_trains_like_original, evaluation_errors

smp = pytest.importorskip(
    "segmentation_models_pytorch", reason="the originals are its own: pip install segmentation_models_pytorch"
)

NAMES = ["unet_resnet18", "unet_resnet34", "unet_resnet50"]
STAGES = {
    "stem": "encoder.relu",
    **{f"stage{i}": f"encoder.layer{i}" for i in range(1, 5)},
    **{f"decoder{i}": f"decoder.blocks.{i - 1}" for i in range(1, 6)},
}


def pair(name: str) -> Pair:
    encoder = name.removeprefix("unet_")
    original = smp.Unet(encoder, encoder_weights=None, classes=5, decoder_interpolation="bilinear")
    return Pair(name, original, STAGES, {"num_classes": 5}, batch=2, learning_rate=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_evaluation(name):
    errors = evaluation_errors(pair(name))
    assert max(errors.values()) < 1e-4, errors


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_training(name):
    assert_trains_like_original(pair(name))
