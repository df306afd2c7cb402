"""Values that no run can have are refused in one line, before anything is loaded."""

import dataclasses
import math

import pytest

from resnet_jax.config.checks import check_config
from resnet_jax.config.needs import check_new_run
from resnet_jax.config.options import Config
from resnet_jax.errors import InputError
from resnet_jax.recipes import CIFAR, IMAGENET, SEGMENTATION, TRANSFER

FLOATS = [f for f in dataclasses.fields(Config) if isinstance(f.default, float)]
TUPLES = [f for f in dataclasses.fields(Config) if isinstance(f.default, tuple)]


def refused(match, **options):
    with pytest.raises(InputError, match=match) as caught:
        check_config(Config(**options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_floats_are_finite(value):
    assert {"epochs", "learning_rate", "ema", "stall_minutes"} <= {f.name for f in FLOATS}
    for field in FLOATS:
        refused(f"--{field.name}={value} must be finite", **{field.name: value})
    assert {"mean", "std", "milestones"} <= {f.name for f in TUPLES}
    for field in TUPLES:
        refused(f"--{field.name} 0.5 {value} 0.5 must be finite", **{field.name: (0.5, value, 0.5)})


@pytest.mark.parametrize("seed", [2**32, 2**32 + 7, 10**19 + 1, -1])
def test_a_seed_has_32_bits(seed):
    refused(f"--seed={seed} must be between 0 and 4294967295", seed=seed)


@pytest.mark.parametrize("stride", [1, 4, 12, 64])
def test_the_output_stride_of_a_new_run_is_8_16_or_32(stride):
    with pytest.raises(InputError, match=f"--output_stride={stride}: take 8, 16 or 32"):
        check_new_run(Config(output_stride=stride))
    check_new_run(Config(output_stride=16))


def test_a_run_that_is_under_way_may_have_any_power_of_two_as_its_output_stride():
    check_config(Config(output_stride=4))
    refused("--output_stride=12: take 8, 16 or 32", output_stride=12)


def test_a_depth_in_python_does_not_contradict_the_model():
    """Commands make the model of it before; a run of theirs has both."""
    with pytest.raises(InputError, match="--depth=50 names another network than --model=resnet18; in Python"):
        check_new_run(Config(model="resnet18", depth=50))
    with pytest.raises(InputError, match="--depth=5 names another network"):
        check_new_run(Config(model="resnet56_cifar", depth=5))
    check_new_run(Config(model="unet_resnet50", depth=50))


def test_the_largest_seed_is_accepted():
    check_config(Config(seed=2**32 - 1))


def test_mean_and_deviation_of_pixels_to_255_are_refused_with_the_quotient():
    refused(
        r"--mean 123.675 116.28 103.53 is of pixels from 0 to 255, .*; divide it by 255: --mean 0.485 0.456 0.406$",
        mean=(123.675, 116.28, 103.53),
    )
    refused("--std 58.395 57.12 57.375 .*: --std 0.229 0.224 0.225$", std=(58.395, 57.12, 57.375))
    refused("--mean -0.1 0.5 0.5: give three numbers from 0 to 1", mean=(-0.1, 0.5, 0.5))


def test_keras_values_as_fractions_are_accepted():
    check_config(Config(mean=(123.68 / 255, 116.779 / 255, 103.939 / 255), std=(1 / 255,) * 3))
    check_config(Config(mean=(0.0,) * 3, std=(1.0,) * 3))


@pytest.mark.parametrize(
    "options",
    [
        {"crop": "scale_jitter"},
        {"crop_scale": (0.5, 1.0)},
        {"crop_ratio": (0.5, 1.0)},
        {"eval_crop": 0.5},
        {"interpolation": "bicubic"},
        {"train_interpolation": "bicubic"},
    ],
)
def test_a_new_run_has_no_option_of_photographs_on_small_images(options):
    config = Config(dataset="cifar10", **options)
    check_config(config)  # of a run that is under way
    with pytest.raises(InputError, match=f"--{next(iter(options))}.* does nothing here: it needs photographs"):
        check_new_run(config)
    check_new_run(dataclasses.replace(config, dataset="folder"))


def test_a_choice_is_one_of_those_of_the_command_line():
    refused("--flip=horizontal: take random, alternating, none", flip="horizontal")
    refused("--padding_mode=edge: take zeros, reflect", padding_mode="edge")


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        ({"dataset": "folder", "crop": "scale_jitter", "crop_scale": (0.5, 1.0)}, "--crop=random_resized"),
        ({"dataset": "folder", "crop": "scale_jitter", "crop_ratio": (0.5, 1.0)}, "--crop=random_resized"),
        ({"dataset": "folder", "padding_mode": "reflect"}, "small images, digits or CIFAR"),
        ({"dataset": "folder", "eval_resize": 256, "eval_crop": 0.5}, "no --eval_resize"),
        ({"norm": "group", "bn_group_size": 32}, "--norm=batch"),
        ({"norm": "frozen", "bn_group_size": 32, "init_from": "hub"}, "--norm=batch"),
        ({"model": "unet_resnet18", "width": 64}, "--skips=add in a U-Net on a classifier"),
        ({"ema": 0.9, "ema_rise": "copy"}, "--warmup_fraction"),
    ],
)
def test_a_new_run_has_no_option_that_does_nothing(options, needed):
    config = Config(**options)
    check_config(config)
    with pytest.raises(InputError, match=f"does nothing here: it needs .*{needed}$"):
        check_new_run(config)


def test_a_recipe_that_is_only_named_begins_no_run():
    for recipes, name in ((CIFAR, "fast"), (IMAGENET, "he2015"), (SEGMENTATION, "finetune"), (TRANSFER, "finetune")):
        with pytest.raises(InputError, match=f"recipe={name} names a recipe, and the config has none of its settings"):
            check_new_run(Config(recipe=name, epochs=2.0))
        check_new_run(Config(recipe=name, **recipes[name].settings | {"epochs": 2.0}))
    check_new_run(Config(recipe="my own"))


def test_options_that_do_something_begin_a_run():
    check_new_run(Config(dataset="folder", crop_scale=(0.5, 1.0), crop_ratio=(0.5, 1.0), eval_crop=0.5))
    check_new_run(Config(dataset="cifar10", padding_mode="reflect", norm="batch", bn_group_size=32))
    check_new_run(Config(model="unet_resnet18", width=64, skips="add", ema=0.9, ema_rise="copy", warmup_fraction=0.1))
    check_new_run(Config(model="unet", width=64))


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        ({"warmup_from": 0.1}, "--warmup_fraction"),
        ({"warmup_learning_rate": 0.1}, "--warmup_fraction"),
        ({"rate_scaling": "sqrt", "reference_batch_size": 0}, "--reference_batch_size"),
        ({"warmup": "constant", "warmup_fraction": 0.1}, "--warmup_learning_rate or --warmup_from"),
    ],
)
def test_a_new_run_has_no_rate_that_does_nothing(options, needed):
    config = Config(**options)
    check_config(config)
    with pytest.raises(InputError, match=needed):
        check_new_run(config)


def test_steps_are_as_many_as_can_be_counted():
    refused("--steps=3000000000 must be between 0 and 2147483647", steps=3_000_000_000)


def test_what_never_moves_is_refused():
    refused("--momentum=1 keeps the first value for ever", momentum=1.0)
    refused("--ema=1 keeps the first value for ever", ema=1.0)
