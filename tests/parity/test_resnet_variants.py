"""The variants of ResNet equal torchvision's and timm's."""

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

timm = pytest.importorskip("timm", reason="the originals are timm's")

TORCHVISION = [
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
]
TIMM = [
    "resnet18d",
    "resnet26d",
    "resnet34d",
    "resnet50d",
    "resnet101d",
    "resnet152d",
    "resnet26t",
    "resnet50t",
    "seresnet50",
    "seresnet152d",
    "ecaresnet50d",
    "skresnet50",
    "resnetblur50",
    "resnetrs50",
    "resnetrs101",
    "resnetv2_50",
    "resnetv2_50x1_bit",
]
# timm names the activation behind the stem differently.
TIMM_STAGES = {"stem": "act1", **{f"stage{n}": f"layer{n}" for n in (1, 2, 3, 4)}, "pooled": "global_pool"}
PREACTIVATION_STAGES = {"stem": "stem.conv", **{f"stage{n}": f"stages.{n - 1}" for n in (1, 2, 3, 4)}}
# Every part once; the others only repeat it in another depth.
TRAINED = ["resnext50_32x4d", "resnet18d", "resnet26t", "seresnet50", "ecaresnet50d", "skresnet50"]
TRAINED += ["resnetblur50", "resnetrs50", "resnetv2_50", "resnetv2_50x1_bit"]


def pair_of(name, **options):
    classes = options.setdefault("num_classes", 10)
    if name in TORCHVISION:
        original = torchvision.models.get_model(name, weights=None, num_classes=classes)
    else:
        original = timm.create_model(name, pretrained=False, num_classes=classes)
    return make_pair(name, original, rules_for(name), **options)


def stages_of(name):
    if name in TORCHVISION:
        return RESNET_STAGES
    return PREACTIVATION_STAGES if name.startswith("resnetv2") else TIMM_STAGES


@pytest.mark.parametrize("name", TORCHVISION + TIMM)
def test_evaluation(name):
    check_evaluation(pair_of(name), stages_of(name))


@pytest.mark.parametrize("name", ["resnet18d", "resnetblur50", "resnetv2_50x1_bit"])
def test_evaluation_of_odd_and_oblong_images(name):
    check_evaluation(pair_of(name, shape=(2, 75, 97)), stages_of(name))


def steady_pair(name):
    last_norm = "" if name.startswith("resnetv2") else "norm2" if name == "resnet18d" else "norm3"
    return pair_of(name, steady=True, last_norm=last_norm)


@pytest.mark.parametrize("name", TRAINED)
def test_training_mode(name):
    check_training(steady_pair(name))


@pytest.mark.parametrize("name", TRAINED)
def test_three_steps(name):
    check_three_steps(steady_pair(name))
