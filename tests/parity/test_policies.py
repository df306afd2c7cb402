"""Policies draw from timm's and torchvision's tables, and what they draw is what those would make of it."""

import math

import numpy as np
import pytest
from PIL import Image

from resnet_jax.data.augment import image_ops, timm_randaugment, torchvision_policies
from resnet_jax.data.augment.image_ops import BICUBIC, BILINEAR
from resnet_jax.data.augment.policies import policy
from tests.parity.originals import torch
from tests.parity.photographs import (
    FILL,
    InterpolationMode,
    assert_same,
    auto_augment,
    autoaugment,
    functional,
    photographs,
    timm_operation,
)

__all__ = ["photographs"]

LEVELS = [*range(11), 0.5, 2.4999, 2.5, 6.51, 9.99]


@pytest.mark.parametrize("increasing", [False, True])
@pytest.mark.parametrize("sign", [1, -1])
def test_levels_mean_what_timms_mean(increasing, sign, monkeypatch):
    monkeypatch.setattr(auto_augment, "_randomly_negate", lambda value: sign * value)
    ours = timm_randaugment.INCREASING_MAGNITUDES if increasing else timm_randaugment.MAGNITUDES
    theirs = auto_augment._RAND_INCREASING_TRANSFORMS if increasing else auto_augment._RAND_TRANSFORMS
    assert set(ours) == {name.removesuffix("Increasing") for name in theirs}
    for name in theirs:
        level_to_arg = auto_augment.LEVEL_TO_ARG[name]
        for level in LEVELS:
            expected = level_to_arg(level, {}) if level_to_arg else (0.0,)
            assert (ours[name.removesuffix("Increasing")](level, sign),) == pytest.approx(expected, rel=1e-15), name


SPACES = [
    (torchvision_policies.RAND_AUGMENT, autoaugment.RandAugment()),
    (torchvision_policies.WIDE, autoaugment.TrivialAugmentWide()),
    (torchvision_policies.AUGMIX, autoaugment.AugMix()),
]


@pytest.mark.parametrize(("ranges", "original"), SPACES, ids=["randaugment", "ta_wide", "augmix"])
@pytest.mark.parametrize("size", [(224, 224), (160, 300), (1, 32)])
def test_bins_mean_what_torchvisions_mean(ranges, original, size):
    wide = isinstance(original, autoaugment.TrivialAugmentWide)
    space = original._augmentation_space(ranges.bins, *(() if wide else (size,)))
    assert set(space) == set(torchvision_policies.operations(ranges))
    for name, (values, signed) in space.items():
        assert signed == (name in torchvision_policies.SIGNED)
        for index in range(ranges.bins):
            theirs = float(values[index]) if values.ndim else 0.0
            for sign in (1, -1) if signed else (1,):
                ours = torchvision_policies.magnitude(ranges, name, index, sign, size)
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
    ours = [
        torchvision_policies.magnitude(torchvision_policies.WIDE, "TranslateX", i, 1, (224, 224)) for i in range(31)
    ]
    assert [i for i in range(31) if ours[i] != theirs[i]] == [15]
    assert (ours[15], theirs[15]) == (16, 15)


@pytest.mark.parametrize(
    "name",
    ["rand-m7-mstd0.5-inc1", "rand-m6-mstd0.5-inc1", "rand-m9-n3-mstd0.5", "rand-m15-mmax20-p0.3-mstd101", "rand"],
)
def test_sections_mean_what_timms_mean(name):
    ours = policy(name)
    theirs = auto_augment.rand_augment_transform(name, {"img_mean": FILL})
    assert isinstance(ours, timm_randaugment.RandAugment)
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
    assert isinstance(ours, timm_randaugment.RandAugment)
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
    assert seen == set(timm_randaugment.MAGNITUDES)


@pytest.mark.parametrize("suffix", ["", "-nearest"])
@pytest.mark.parametrize("name", ["randaugment-n2-m9", "ta_wide"])
def test_what_torchvisions_policies_draw_is_replayed_by_torchvision(photographs, name, suffix):
    ours = policy(name + suffix)
    assert isinstance(ours, torchvision_policies.BinnedRandAugment | torchvision_policies.TrivialAugment)
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
    assert isinstance(ours, torchvision_policies.AugMix)
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
