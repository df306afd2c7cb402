"""Real photographs, and timm's and torchvision's augmentations of them."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from resnet_jax.data.augment import image_ops
from resnet_jax.data.augment.image_ops import BICUBIC, BILINEAR, NEAREST, Step
from tests.parity.originals import torchvision
from tests.real_data import real_folder

auto_augment: Any = pytest.importorskip(
    "timm.data.auto_augment", reason="the originals are timm's: pip install timm", exc_type=ImportError
)
autoaugment, functional = torchvision.transforms.autoaugment, torchvision.transforms.functional
InterpolationMode = torchvision.transforms.InterpolationMode

FILL = (124, 116, 104)
MODES = {NEAREST: InterpolationMode.NEAREST, BILINEAR: InterpolationMode.BILINEAR, BICUBIC: InterpolationMode.BICUBIC}
# Their positive translation is to the left and up; ours is torchvision's.
OPPOSITE = {"TranslateX", "TranslateY", "TranslateXRel", "TranslateYRel"}


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    """Six photographs of different shapes, strips a single pixel wide and high, and one in gray."""
    files = sorted(real_folder("images", "imagenet-1-per-class").rglob("*.JPEG"))[::167]
    whole = [Image.open(file).convert("RGB") for file in files]
    return [
        *whole,
        whole[0].crop((5, 20, 90, 21)),
        whole[0].crop((20, 5, 21, 90)),
        whole[1].convert("L").convert("RGB"),
    ]


def assert_same(ours: Image.Image, theirs: Image.Image, what: object = ""):
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs), err_msg=str(what))


def timm_operation(image: Image.Image, step: Step) -> Image.Image:
    """What timm's function of that name makes of the image."""
    arguments = () if step.name in image_ops.FIXED else (step.magnitude,)
    if step.name in OPPOSITE:
        arguments = (-step.magnitude,)
    return auto_augment.NAME_TO_OP[step.name](image, *arguments, resample=step.resample, fillcolor=FILL)
