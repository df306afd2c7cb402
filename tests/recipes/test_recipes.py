"""Every number of every recipe, against what its source says; and every recipe trains on photographs and on arrays."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optax
import pytest
from PIL import Image

from resnet_jax.config.options import Config
from resnet_jax.optim.build import build_ema, build_schedule
from resnet_jax.recipes import CIFAR, IMAGENET
from resnet_jax.run.train import train

IMAGES = 1_281_167
ALL = {**{f"cifar-{name}": r for name, r in CIFAR.items()}, **{f"imagenet-{name}": r for name, r in IMAGENET.items()}}


def row(**settings: Any) -> dict[str, Any]:
    """Return the settings of a source; rates are those at its batch, times in its epochs or steps."""
    return settings


SGD = {"optimizer": "sgd", "momentum": 0.9, "nesterov": False}
CENTER = {"eval_views": "center", "interpolation": ""}  # bilinear, where no weights say more
RSB = {
    **{"optimizer": "lamb", "clip_norm": 1.0, "loss": "binary_cross_entropy"},
    **{"schedule": "cosine", "cutmix": 1.0, "interpolation": "bicubic", "eval_crop": 0.95, "target_threshold": -1.0},
}
# What each says beside its row: whether norms and biases decay, whether blocks start as shortcuts, the smallest crop.
BESIDE = {
    "imagenet-he2015": (True, False, 0.08),
    "imagenet-goyal2017": (False, True, 0.08),
    "imagenet-torchvision_v2": (False, False, 0.08),
    "imagenet-rsb_a1": (False, True, 0.08),
    "imagenet-rsb_a2": (False, True, 0.08),
    "imagenet-rsb_a3": (False, True, 0.08),
    "imagenet-ffcv16": (False, False, 0.08),
    "imagenet-ffcv88": (False, False, 0.08),
    "imagenet-bit_i1k": (False, False, 0.05),
    "imagenet-mlperf_lars": (False, False, 0.05),
    "imagenet-imagenette": (False, True, 0.35),  # ours
    "cifar-he2015": (True, False, None),
    "cifar-he2015_deep": (True, False, None),
    "cifar-densenet": (True, False, None),
    "cifar-wrn": (True, False, None),
    "cifar-airbench94": (True, False, None),
    "cifar-fast": (False, False, None),  # ours
}
ROWS = {
    "imagenet-he2015": row(
        **SGD, **CENTER, batch=256, rate=0.1, weight_decay=1e-4, crop="scale_jitter", lighting=0.1, image_size=224
    ),
    "imagenet-goyal2017": row(
        **SGD, **CENTER, batch=256, rate=0.1, epochs=90, weight_decay=1e-4,
        schedule="step", milestone_epochs=(30, 60, 80), warmup_epochs=5, warmup_learning_rate=0.1,
        color_jitter=0.4, lighting=0.1, crop_scale=(0.08, 1.0),
    ),
    "imagenet-torchvision_v2": row(
        **SGD, **CENTER, batch=1024, rate=0.5, epochs=600, weight_decay=2e-5,
        schedule="cosine", warmup_epochs=5, image_size=176, eval_image_size=224, eval_crop=224 / 232,
        auto_augment="ta_wide", erase=0.1, repeats=4, label_smoothing=0.1, mixup=0.2, cutmix=1.0,
    ),
    "imagenet-rsb_a1": row(
        **RSB, batch=2048, rate=5e-3, epochs=600, weight_decay=0.01, warmup_epochs=5, last_rate=1e-6, image_size=224,
        auto_augment="rand-m7-mstd0.5-inc1", repeats=3, mixup=0.2, stochastic_depth=0.05, label_smoothing=0.1,
    ),
    "imagenet-rsb_a2": row(
        **RSB, batch=2048, rate=5e-3, epochs=300, weight_decay=0.02, warmup_epochs=5, last_rate=1e-6, image_size=224,
        auto_augment="rand-m7-mstd0.5-inc1", repeats=3, mixup=0.1, stochastic_depth=0.05, label_smoothing=0.0,
    ),
    "imagenet-rsb_a3": row(
        **RSB, batch=2048, rate=8e-3, epochs=100, weight_decay=0.02, warmup_epochs=5, last_rate=1e-6, image_size=160,
        eval_image_size=224, auto_augment="rand-m6-mstd0.5-inc1", repeats=1, mixup=0.1, stochastic_depth=0.0,
        label_smoothing=0.0,
    ),
    "imagenet-ffcv16": row(
        **SGD, batch=4096, rate=1.7, epochs=16, weight_decay=1e-4, schedule="linear",
        warmup_epochs=2, first_rate=1.7e-4, progressive="160:192", ramp_epochs=(11, 13), label_smoothing=0.1,
        blur_strides=True, eval_image_size=256, eval_crop=224 / 256, eval_views="flip",
    ),
    "imagenet-ffcv88": row(
        **SGD, batch=4096, rate=1.7, epochs=88, weight_decay=1e-4, schedule="linear",
        warmup_epochs=2, first_rate=1.7e-4, progressive="160:192", ramp_epochs=(65, 76), label_smoothing=0.1,
        blur_strides=True, eval_image_size=256, eval_crop=224 / 256, eval_views="flip",
    ),
    "imagenet-bit_i1k": row(
        **SGD, batch=4096, rate=0.1 * 4096 / 256, epochs=90, decay="decoupled", schedule="cosine", clip_norm=1.0,
        decay_a_step=(1e-4 / 256) * 4096, warmup_steps=1000, mean=(0.5,) * 3, std=(0.5,) * 3, model="resnetv2_50x1_bit",
    ),
    "imagenet-mlperf_lars": row(
        optimizer="lars", momentum=0.9, batch=4096, rate=10.0, epochs=42, weight_decay=2e-4,
        warmup_epochs=5, schedule="polynomial", last_rate=1e-4, label_smoothing=0.1,
    ),
    "cifar-he2015": row(
        **SGD, batch=128, rate=0.1, weight_decay=1e-4, steps=64_000, schedule="step",
        milestone_steps=(32_000, 48_000), crop_padding=4, flip="random",
    ),
    "cifar-he2015_deep": row(
        **SGD, batch=128, rate=0.1, weight_decay=1e-4, steps=64_000, milestone_steps=(32_000, 48_000), warmup_steps=400,
        first_rate=0.01, warmup="constant",
    ),
    "cifar-densenet": row(
        batch=64, rate=0.1, epochs=300, milestones=(0.5, 0.75), momentum=0.9, nesterov=True, weight_decay=1e-4,
        crop_padding=4, flip="random",
    ),
    "cifar-wrn": row(
        batch=128, rate=0.1, epochs=200, milestone_epochs=(60, 120, 160), milestone_factor=0.2, momentum=0.9,
        nesterov=True, weight_decay=5e-4, padding_mode="reflect",
    ),
    "cifar-airbench94": row(
        batch=1024, rate=11.5 / (1 + 1 / (1 - 0.85)), epochs=9.9, momentum=0.85, nesterov=True, norm_bias_rate=64.0,
        decay_a_step=0.0153 / (1 + 1 / (1 - 0.85)), label_smoothing=0.2, stem_epochs=3, flip="alternating",
        crop_padding=2, padding_mode="reflect", eval_views="flip_translate", warmup_fraction=0.23, first_rate=0.2 * 1.5,
        final_fraction=0.07, ema=0.95**5, ema_every=5, ema_rise="cubic", lookahead=True, model="airbench94_cifar",
    ),
    "cifar-fast": row(batch=128, rate=0.4, epochs=5),  # ours
    "imagenet-imagenette": row(batch=64, rate=0.07, epochs=5, image_size=128),  # ours
}  # fmt: skip


def rate(schedule: optax.Schedule, step: int) -> float:
    return float(np.asarray(schedule(step)))


def config_of(key: str) -> Config:
    return replace(Config(model="x"), **ALL[key].settings)


def test_every_recipe_has_its_row():
    assert set(ROWS) == set(BESIDE) == set(ALL)


@pytest.mark.parametrize("key", ALL)
def test_a_recipe_is_its_source(key):
    config, source = config_of(key), dict(ROWS[key])
    images = 50_000 if key.startswith("cifar") else IMAGES
    batch = source.pop("batch")
    assert config.batch_size == batch
    total = round(config.epochs * images / batch)
    schedule = build_schedule(config, total)
    if (steps := source.pop("steps", None)) is not None:
        assert total == steps
    first = round(config.warmup_fraction * total)
    # The peak is reached when the warm-up ends, at the batch of the source.
    assert rate(schedule, first) == pytest.approx(source.pop("rate"), rel=1e-6)
    if "first_rate" in source:
        assert rate(schedule, 0) == pytest.approx(source.pop("first_rate"), rel=1e-4)  # float32 near the peak
    if "last_rate" in source:
        assert rate(schedule, total) == pytest.approx(source.pop("last_rate"), rel=1e-3)
    for name, length in (("epochs", 1.0), ("steps", batch / images)):
        if f"warmup_{name}" in source:
            warmup = config.warmup_fraction * config.epochs
            assert warmup == pytest.approx(source.pop(f"warmup_{name}") * length, rel=1e-6)
        if f"milestone_{name}" in source:
            expected = [m * length for m in source.pop(f"milestone_{name}")]
            assert [m * config.epochs for m in config.milestones] == pytest.approx(expected)
    if "ramp_epochs" in source:
        assert [f * config.epochs for f in config.progressive_ramp] == pytest.approx(source.pop("ramp_epochs"))
    if "stem_epochs" in source:
        assert config.stem_fraction * config.epochs == pytest.approx(source.pop("stem_epochs"))
    if "decay_a_step" in source:
        assert config.learning_rate * batch / config.reference_batch_size * config.weight_decay == pytest.approx(
            source.pop("decay_a_step")
        )
    decays, zero, smallest = BESIDE[key]
    assert (config.decay_norm_and_bias, config.zero_init) == (decays, zero)
    assert smallest in (None, config.crop_scale[0])
    for name, value in source.items():
        number = isinstance(value, int | float | tuple) and not isinstance(value, bool)
        assert getattr(config, name) == (pytest.approx(value, rel=1e-9) if number else value), name


def test_torchvisions_average_is_its_formula():
    # references/classification/train.py: alpha = (1 - decay) * batch * every / epochs, an update every 32 steps.
    config = config_of("imagenet-torchvision_v2")
    for epochs, batch in [(600.0, 1024), (90.0, 256)]:
        scaled = replace(config, epochs=epochs, batch_size=batch)
        average = build_ema(scaled, round(epochs * IMAGES / batch))
        assert average is not None
        assert 1 - average.decay == pytest.approx((1 - 0.99998) * batch * 32 / epochs, rel=1e-3)
        assert average.every == 32


def test_a_shorter_training_has_the_same_shape():
    config = config_of("imagenet-rsb_a3")
    long, short = (build_schedule(config, total) for total in (10_000, 100))
    for part in (0.0, 0.05, 0.5, 1.0):
        assert rate(short, round(part * 100)) == pytest.approx(rate(long, round(part * 10_000)), rel=1e-6)


def test_recipes_for_photographs_keep_the_size_of_small_images():
    small = IMAGENET["rsb_a3"].for_small_images()
    assert "image_size" not in small.settings
    assert "eval_image_size" not in small.settings
    assert small.settings["mixup"] == IMAGENET["rsb_a3"].settings["mixup"]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 4)):
        for kind in ("cat", "dog"):
            (root / split / kind).mkdir(parents=True)
            for k in range(count):
                picture = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
                Image.fromarray(picture).save(root / split / kind / f"{k}.jpg")
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "dataset"),
    [
        # Those of photographs on small images, and the other way round, with --long.
        pytest.param(key, dataset, marks=[] if (dataset == "digits") == key.startswith("cifar") else pytest.mark.long)
        for key in ALL
        for dataset in ("folder", "digits")
    ],
)
def test_every_recipe_trains_on_photographs_and_on_arrays(key, dataset, photographs, tmp_path):
    recipe = ALL[key] if dataset == "folder" else ALL[key].for_small_images()
    config = replace(Config(model="resnet8_cifar", recipe=key.partition("-")[2]), **recipe.settings)
    sizes: dict[str, Any] = {"image_size": 0}
    if dataset == "folder":
        sizes = {"image_size": 16, "eval_image_size": 0, "eval_resize": 0}
    if config.progressive:
        sizes["progressive"] = "12:16"
    airbench = config.model == "airbench94_cifar"
    if airbench:
        sizes["image_size"] = 16  # digits have 8 pixels, and it needs 9
    if airbench and dataset == "digits":
        dataset = "fake"  # and no color, which it whitens
    config = replace(
        config,
        **sizes,
        model=config.model if airbench else "resnet8_cifar",
        width=0 if airbench else 4,
        dataset=dataset,
        data_dir=str(photographs) if dataset == "folder" else "",
        batch_size=16,
        steps=2,
        num_workers=0,
        workdir=str(tmp_path / "run"),
        log_every=1,
    )
    result = train(config)
    assert result["step"] == 2
    assert np.isfinite(result["loss"])
    assert ("ema_top1" in result) == ((config.ema > 0 or config.ema_fraction > 0) and not config.lookahead)
