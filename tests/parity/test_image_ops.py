"""Augmentations of photographs equal timm's and torchvision's, bit for bit: all of them leave the work to Pillow."""

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from resnet_jax.data import color, image_ops, magnitude_bins, rand_augment
from resnet_jax.data.image_ops import BICUBIC, BILINEAR, NEAREST, Step
from resnet_jax.data.policies import policy
from tests.parity.originals import torch, torchvision

auto_augment: Any = pytest.importorskip(
    "timm.data.auto_augment", reason="the originals are timm's: pip install timm", exc_type=ImportError
)
autoaugment, functional = torchvision.transforms.autoaugment, torchvision.transforms.functional
InterpolationMode = torchvision.transforms.InterpolationMode

REAL = Path(os.environ.get("RESNET_JAX_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
FILL = (124, 116, 104)
MODES = {NEAREST: InterpolationMode.NEAREST, BILINEAR: InterpolationMode.BILINEAR, BICUBIC: InterpolationMode.BICUBIC}
# Their positive translation is to the left and up; ours is torchvision's.
OPPOSITE = {"TranslateX", "TranslateY", "TranslateXRel", "TranslateYRel"}


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    """Six photographs of different shapes, strips a single pixel wide and high, and one in grey."""
    folder = REAL / "imagenet-1-per-class"
    if not folder.is_dir():
        pytest.skip(f"no images at {folder} (set RESNET_JAX_TEST_DATA)")
    files = sorted(folder.rglob("*.JPEG"))[::167]
    whole = [Image.open(file).convert("RGB") for file in files]
    return [
        *whole,
        whole[0].crop((5, 20, 90, 21)),
        whole[0].crop((20, 5, 21, 90)),
        whole[1].convert("L").convert("RGB"),
    ]


def assert_same(ours: Image.Image, theirs: Image.Image, what: object = ""):
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs), err_msg=str(what))


MAGNITUDES = {
    "AutoContrast": [0.0],
    "Equalize": [0.0],
    "Invert": [0.0],
    "Rotate": [-135.0, -30.0, -0.5, 0.0, 17.3, 90.0],
    "ShearX": [-0.99, -0.21, 0.0, 0.3],
    "ShearY": [-0.99, -0.21, 0.0, 0.3],
    "TranslateX": [-32, -7, 0, 100],
    "TranslateY": [-32, -7, 0, 100],
    "Posterize": [1, 2, 4, 7, 8],
    "Solarize": [0, 60.5, 128, 255, 256],
    "Color": [0.0, 0.1, 0.73, 1.0, 1.9],
    "Contrast": [0.0, 0.1, 0.73, 1.0, 1.9],
    "Brightness": [0.0, 0.1, 0.73, 1.0, 1.9],
    "Sharpness": [0.0, 0.1, 0.73, 1.0, 1.9],
}


@pytest.mark.parametrize("name", MAGNITUDES)
@pytest.mark.parametrize("resample", [NEAREST, BILINEAR, BICUBIC])
def test_torchvisions_operations(photographs, name, resample):
    # Their policies give the enhancements as a difference from 1.
    enhanced = name in ("Color", "Contrast", "Brightness", "Sharpness")
    for image in photographs:
        for magnitude in MAGNITUDES[name]:
            ours = image_ops.apply(image, name, by_angle(name, magnitude), resample, FILL)
            theirs = autoaugment._apply_op(image, name, magnitude - enhanced, MODES[resample], list(FILL))
            assert_same(ours, theirs, (name, magnitude, image.size))


def by_angle(name: str, magnitude: float) -> float:
    """A shear's factor after torchvision turned it into degrees and back; other magnitudes as they are."""
    angle = math.radians(math.degrees(math.atan(magnitude)))
    return {"ShearX": math.tan(angle), "ShearY": math.sin(angle) / math.cos(angle)}.get(name, magnitude)


@pytest.mark.parametrize("name", ["ShearX", "ShearY"])
def test_a_shear_by_its_factor_is_torchvisions_by_its_angle(photographs, name):
    """The way over the angle costs a unit in the last place of the factor: a level in few values, more on the edge.

    Measured over the bins of both spaces: a level in 0.03 % of the values, more in 0.0001 %, where a row ends exactly
    between image and fill.
    """
    differences = []
    for image in photographs[:3]:
        for magnitude in np.linspace(-0.99, 0.99, 13):
            ours, theirs = (
                np.asarray(image_ops.apply(image, name, factor, BILINEAR, FILL)).astype(int)
                for factor in (magnitude, by_angle(name, magnitude))
            )
            differences.append(abs(ours - theirs).ravel())
    difference = np.concatenate(differences)
    assert (difference > 0).mean() < 1e-3
    assert (difference > 1).mean() < 1e-5


TIMM_ONLY = {
    "SolarizeAdd": [0, 55, 110],
    "GaussianBlur": [0.1, 1.3, 2.0],
    "TranslateXRel": [-0.45, -0.1, 0.0, 0.313],
    "TranslateYRel": [-0.45, -0.1, 0.0, 0.313],
}


@pytest.mark.parametrize("name", [*MAGNITUDES, *TIMM_ONLY])
@pytest.mark.parametrize("resample", [BILINEAR, BICUBIC])
def test_timms_operations(photographs, name, resample):
    for image in photographs:
        for magnitude in (MAGNITUDES | TIMM_ONLY)[name]:
            ours = image_ops.apply(image, name, magnitude, resample, FILL)
            assert_same(ours, timm_operation(image, Step(name, magnitude, resample)), (name, magnitude, image.size))


def timm_operation(image: Image.Image, step: Step) -> Image.Image:
    """What timm's function of that name makes of the image."""
    arguments = () if step.name in image_ops.FIXED else (step.magnitude,)
    if step.name in OPPOSITE:
        arguments = (-step.magnitude,)
    if step.name == "Solarize":
        arguments = (float(step.magnitude),)
    return auto_augment.NAME_TO_OP[step.name](image, *arguments, resample=step.resample, fillcolor=FILL)


def test_grey_and_hue_are_torchvisions(photographs):
    for image in photographs:
        assert_same(image_ops.gray(image), functional.rgb_to_grayscale(image, 3))
        # Exact as well: both turn the same 8-bit hue, in steps of 1/255 of the circle.
        for turn in (-0.5, -0.3, -0.01, 0.0, 0.003, 0.1, 0.5):
            assert_same(image_ops.hue(image, turn), functional.adjust_hue(image, turn), turn)


LEVELS = [*range(11), 0.5, 2.4999, 2.5, 6.51, 9.99]


@pytest.mark.parametrize("increasing", [False, True])
@pytest.mark.parametrize("sign", [1, -1])
def test_levels_mean_what_timms_mean(increasing, sign, monkeypatch):
    monkeypatch.setattr(auto_augment, "_randomly_negate", lambda value: sign * value)
    ours = rand_augment.INCREASING_MAGNITUDES if increasing else rand_augment.MAGNITUDES
    theirs = auto_augment._RAND_INCREASING_TRANSFORMS if increasing else auto_augment._RAND_TRANSFORMS
    assert set(ours) == {name.removesuffix("Increasing") for name in theirs}
    for name in theirs:
        level_to_arg = auto_augment.LEVEL_TO_ARG[name]
        for level in LEVELS:
            expected = level_to_arg(level, {}) if level_to_arg else (0.0,)
            assert (ours[name.removesuffix("Increasing")](level, sign),) == pytest.approx(expected, rel=1e-15), name


SPACES = [
    (magnitude_bins.RAND_AUGMENT, autoaugment.RandAugment()),
    (magnitude_bins.WIDE, autoaugment.TrivialAugmentWide()),
    (magnitude_bins.AUGMIX, autoaugment.AugMix()),
]


@pytest.mark.parametrize(("ranges", "original"), SPACES, ids=["randaugment", "ta_wide", "augmix"])
@pytest.mark.parametrize("size", [(224, 224), (160, 300), (1, 32)])
def test_bins_mean_what_torchvisions_mean(ranges, original, size):
    wide = isinstance(original, autoaugment.TrivialAugmentWide)
    space = original._augmentation_space(ranges.bins, *(() if wide else (size,)))
    assert set(space) == set(magnitude_bins.operations(ranges))
    for name, (values, signed) in space.items():
        assert signed == (name in magnitude_bins.SIGNED)
        for index in range(ranges.bins):
            theirs = float(values[index]) if values.ndim else 0.0
            for sign in (1, -1) if signed else (1,):
                ours = magnitude_bins.magnitude(ranges, name, index, sign, size)
                if name.startswith("Translate"):
                    # Float32 puts some whole numbers of pixels just below themselves, and truncation takes one away.
                    assert ours == sign * int(theirs + 1e-4), (name, index)
                elif name == "Solarize":
                    assert math.ceil(ours) == math.ceil(theirs), index
                else:
                    offset = 1 if name in ("Color", "Contrast", "Brightness", "Sharpness") else 0
                    # Theirs are float32.
                    assert ours == pytest.approx(offset + sign * theirs, rel=1e-6, abs=1e-7), (name, index)


def test_only_one_bin_of_the_wide_space_is_a_pixel_apart():
    space = autoaugment.TrivialAugmentWide()._augmentation_space(31)
    theirs = [int(pixels) for pixels in space["TranslateX"][0]]
    ours = [magnitude_bins.magnitude(magnitude_bins.WIDE, "TranslateX", i, 1, (224, 224)) for i in range(31)]
    assert [i for i in range(31) if ours[i] != theirs[i]] == [15]
    assert (ours[15], theirs[15]) == (16, 15)


@pytest.mark.parametrize(
    "name",
    ["rand-m7-mstd0.5-inc1", "rand-m6-mstd0.5-inc1", "rand-m9-n3-mstd0.5", "rand-m15-mmax20-p0.3-mstd101", "rand"],
)
def test_sections_mean_what_timms_mean(name):
    ours = policy(name)
    theirs = auto_augment.rand_augment_transform(name, {"img_mean": FILL})
    assert isinstance(ours, rand_augment.RandAugment)
    assert ours.count == theirs.num_layers
    assert theirs.choice_weights is None
    assert len(theirs.ops) == 15
    for operation in theirs.ops:
        assert operation.name.endswith("Increasing") <= ours.increasing
        expected = (operation.magnitude, operation.magnitude_std, operation.magnitude_max or 10, operation.prob)
        assert (ours.level, ours.std, ours.highest, ours.probability) == expected
        assert operation.kwargs == {"fillcolor": ours.fill, "resample": (BILINEAR, BICUBIC)}


@pytest.mark.parametrize("name", ["rand-m7-mstd0.5-inc1", "rand-m9-n3-mstd0.5"])
def test_what_timms_policy_draws_is_replayed_by_timm(photographs, name):
    """Whole policies: the steps that a policy draws, done by timm's operations, give the image that ours gives."""
    ours = policy(name)
    assert isinstance(ours, rand_augment.RandAugment)
    seen = set()
    for seed in range(200):
        image = photographs[seed % len(photographs)].resize((64, 48))
        steps = ours.draw(np.random.default_rng(seed))
        expected = image
        for step in steps:
            # Pillow 13 refuses the 0 bits of timm's table: black.
            black = step.name == "Posterize" and step.magnitude < 1
            expected = Image.new("RGB", image.size) if black else timm_operation(expected, step)
        seen |= {step.name for step in steps}
        assert_same(Image.fromarray(ours(np.asarray(image), np.random.default_rng(seed))), expected, steps)
    assert seen == set(rand_augment.MAGNITUDES)


@pytest.mark.parametrize("suffix", ["", "-nearest"])
@pytest.mark.parametrize("name", ["randaugment-n2-m9", "ta_wide"])
def test_what_torchvisions_policies_draw_is_replayed_by_torchvision(photographs, name, suffix):
    ours = policy(name + suffix)
    assert isinstance(ours, magnitude_bins.BinnedRandAugment | magnitude_bins.TrivialAugment)
    mode = InterpolationMode.NEAREST if suffix else InterpolationMode.BILINEAR
    for seed in range(150):
        image = photographs[seed % len(photographs)].resize((64, 48))
        steps = ours.draw(np.random.default_rng(seed), 48, 64)
        expected = image
        for step in steps:
            offset = 1 if step.name in ("Color", "Contrast", "Brightness", "Sharpness") else 0
            expected = autoaugment._apply_op(expected, step.name, step.magnitude - offset, mode, None)
        result = ours(np.asarray(image), np.random.default_rng(seed))
        if any(step.name.startswith("Shear") for step in steps):
            # A level, see above; what follows a shear may double it a few times, and nearest pixels may jump.
            assert (abs(result.astype(int) - np.asarray(expected)) > 8).mean() < 1e-3
        else:
            assert_same(Image.fromarray(result), expected, steps)


def test_augmix_mixes_as_torchvision(photographs, monkeypatch):
    """With our chains and weights in its place, torchvision's mixture is ours rounded down: the same or one level less.

    Torchvision does the operations on tensors, which are not Pillow's to the bit; here both do Pillow's.
    """
    ours = policy("augmix-d2")
    assert isinstance(ours, magnitude_bins.AugMix)
    theirs = autoaugment.AugMix(chain_depth=2)
    lower = pixels = 0
    for seed, image in enumerate(photographs):
        kept, weights, chains = ours.draw(np.random.default_rng(seed), image.height, image.width)
        steps = iter([step for chain in chains for step in chain])

        def ours_instead(tensor, *_, steps=steps, **__):
            step = next(steps)
            return functional.pil_to_tensor(image_ops.apply_steps(functional.to_pil_image(tensor[0]), [step]))[None]

        draws = iter([torch.tensor([[kept, 1 - kept]]), torch.tensor(weights / (1 - kept))[None]])
        monkeypatch.setattr(autoaugment, "_apply_op", ours_instead)
        monkeypatch.setattr(theirs, "_sample_dirichlet", lambda _, draws=draws: next(draws))
        expected = np.asarray(theirs(image)).astype(int)
        assert next(steps, None) is None
        difference = ours(np.asarray(image), np.random.default_rng(seed)) - expected
        assert set(np.unique(difference)) <= {0, 1}
        lower, pixels = lower + difference.sum(), pixels + difference.size
    assert 0.2 < lower / pixels < 0.8


@pytest.mark.parametrize("strengths", [(0.4, 0.4, 0.4, 0.1), (0.3, 0.3, 0.3, 0.0), (0.0, 0.0, 1.2, 0.5)])
def test_color_jitter_is_torchvisions(photographs, strengths):
    jitter = torchvision.transforms.ColorJitter(*strengths)
    ranges = {
        "Brightness": jitter.brightness,
        "Contrast": jitter.contrast,
        "Color": jitter.saturation,
        "Hue": jitter.hue,
    }
    adjust = {
        "Brightness": functional.adjust_brightness,
        "Contrast": functional.adjust_contrast,
        "Color": functional.adjust_saturation,
        "Hue": functional.adjust_hue,
    }
    for seed in range(20):
        image = photographs[seed % len(photographs)]
        steps = color.jitter_steps(np.random.default_rng(seed), *strengths)
        assert {step.name for step in steps} == {name for name, limits in ranges.items() if limits}
        expected = image
        for step in steps:
            low, high = ranges[step.name]
            assert low <= step.magnitude <= high
            expected = adjust[step.name](expected, step.magnitude)
        ours = color.color_jitter(np.asarray(image), np.random.default_rng(seed), *strengths)
        assert_same(Image.fromarray(ours), expected, steps)


def test_three_augment_is_grey_solarize_and_blur(photographs):
    """The three of DeiT III's code: torchvision's Grayscale(3), Pillow's solarize at 128, a blur of 0.1 to 2 pixels."""
    for seed in range(30):
        image = photographs[seed % len(photographs)]
        step = color.three_augment_step(np.random.default_rng(seed))
        expected = {
            "Gray": torchvision.transforms.Grayscale(3),
            "Solarize": ImageOps.solarize,
            "GaussianBlur": lambda picture, radius=step.magnitude: auto_augment.gaussian_blur(picture, radius),
        }[step.name](image)
        assert_same(Image.fromarray(color.three_augment(np.asarray(image), np.random.default_rng(seed))), expected)
