"""Checks of a config: impossible values are refused in one line, before anything is loaded or written."""

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Literal, get_args, get_origin, get_type_hints

from resnet_jax.config.needs import check_needs, shown
from resnet_jax.config.options import MOST_STEPS, Config, progressive_sizes, resolve, uses_masks
from resnet_jax.errors import InputError

INF = math.inf

BALANCES = ("", "balanced")  # of the classes of whole pictures

# Smallest and largest value of an option, or of every number in its tuple.
RANGES: tuple[tuple[str, float, float], ...] = (
    *((name, 1, INF) for name in ("batch_size", "log_every", "keep", "repeats", "accumulate", "steps_per_call")),
    ("ema_every", 1, MOST_STEPS),
    ("steps", 0, MOST_STEPS),
    *((name, 0, INF) for name in ("image_size", "eval_image_size", "eval_resize", "eval_batch_size")),
    ("seed", 0, 2**32 - 1),  # JAX keeps 32 bits of it, so that larger ones would be other names of these
    *((name, 0, INF) for name in ("learning_rate", "reference_batch_size", "weight_decay", "warmup_learning_rate")),
    *((name, 0, INF) for name in ("eval_every", "checkpoint_every", "bn_group_size", "width", "depth", "crop_padding")),
    *((name, 0, INF) for name in ("color_jitter", "lighting", "cutout", "mixup", "cutmix", "temperature")),
    *((name, 0, INF) for name in ("clip_norm", "adaptive_clip", "norm_bias_rate", "milestone_factor")),
    *((name, 0, INF) for name in ("cache_features", "head_rate", "unfreeze_at", "patience", "folds", "fold")),
    ("plateau_patience", 1, MOST_STEPS),
    ("output_stride", 0, INF),
    ("void_value", 0, 255),
    ("crop_size", 1, INF),
    ("scale", 0.05, 20),
    ("rotate", 0, 180),
    ("threshold", 0, 1),
    ("val_fraction", 0, 0.9),
    *((name, 0, 1) for name in ("milestones", "warmup_fraction", "warmup_from", "final_fraction", "momentum")),
    *((name, 0, 1) for name in ("label_smoothing", "stochastic_depth", "dropout", "erase", "mix_probability")),
    *((name, 0, 1) for name in ("ema", "ema_fraction", "distill_weight", "progressive_ramp", "layer_decay")),
    ("stem_fraction", 0, 1),
    ("eval_crop", 0.01, 1),
    ("crop_scale", 1e-6, 1),
    ("crop_ratio", 1e-3, 1e3),
    ("target_threshold", -1, 1),
    ("num_workers", -1, INF),
    ("connect_timeout", 1, 86400),
    ("stall_minutes", 0, 1e6),
)

CHOICES = {name: get_args(hint) for name, hint in get_type_hints(Config).items() if get_origin(hint) is Literal}


def check_config(config: Config) -> None:
    """Refuse values that no run can have.

    Raises:
        InputError: a number out of its range, or options that contradict each other.
    """
    for name, choices in CHOICES.items():
        if (value := getattr(config, name)) not in choices:
            raise InputError(f"--{name}={value}: take {', '.join(filter(None, choices))}")
    for field in fields(config):
        value = getattr(config, field.name)
        if not all(math.isfinite(v) for v in (value if isinstance(value, tuple) else [value]) if isinstance(v, float)):
            raise InputError(f"--{field.name}{shown(value)} must be finite: neither nan nor inf")
    for name, low, high in RANGES:
        value = resolve(config, name)
        for number in value if isinstance(value, Sequence) else [value]:
            if not low <= number <= high:
                bounds = f"at least {low}" if high == INF else f"between {low} and {high}"
                raise InputError(f"--{name}={number} must be {bounds}")
    for name in ("momentum", "ema"):
        if getattr(config, name) == 1:
            raise InputError(f"--{name}=1 keeps the first value for ever; take less than 1")
    for name in ("crop_scale", "crop_ratio", "progressive_ramp"):
        first, last = getattr(config, name)
        if first > last:
            raise InputError(f"--{name} {first} {last}: the smaller one comes first")
    if not config.steps and config.epochs <= 0:
        raise InputError(f"--epochs={config.epochs} must be positive")
    check_normalization(config)
    if config.norm == "frozen" and not config.init_from:
        raise InputError(
            "--norm=frozen needs trained statistics, and this training starts from random weights; "
            "start from weights, --init_from=…, or take --norm=batch or --norm=group"
        )
    if config.weights_key and config.init_from and config.teacher:
        raise InputError(
            f"--weights_key={config.weights_key} is of --init_from or of the teacher, and both are given; write the "
            "set of one of them to a file of its own (experiments.convert, with --weights_key, or --ema for a run)"
        )
    check_needs(config)
    check_pictures(config)
    check_mask_options(config)
    whole = config.accumulate * max(1, config.bn_group_size)
    if config.batch_size % whole:
        groups = f" of groups of --bn_group_size={config.bn_group_size}" if config.bn_group_size else ""
        parts = f"{config.accumulate} micro-batches{groups}" if config.accumulate > 1 else f"groups of {whole}"
        raise InputError(f"--batch_size={config.batch_size} cannot be divided into {parts}; take a multiple of {whole}")
    if config.output_stride.bit_count() > 1:
        raise InputError(f"--output_stride={config.output_stride}: take 8, 16 or 32")
    progressive_sizes(config.progressive)  # raises


def check_normalization(config: Config) -> None:
    """Refuse a mean and a standard deviation that pixels in [0, 1] cannot have.

    Raises:
        InputError: the first of them.
    """
    for name in ("mean", "std"):
        value = getattr(config, name)
        if any(v > 1 for v in value):
            divided = shown(tuple(round(v / 255, 4) for v in value))
            raise InputError(
                f"--{name}{shown(value)} is of pixels from 0 to 255, and here they are from 0 to 1; divide it by 255: "
                f"--{name}{divided}"
            )
        if len(value) not in (0, 3) or any(v < 0 or (name == "std" and not v) for v in value):
            above = "above 0" if name == "std" else "from 0"
            raise InputError(f"--{name}{shown(value)}: give three numbers {above} to 1, or none")


def check_pictures(config: Config) -> None:
    """Refuse splits and a balance of classes that contradict each other.

    Raises:
        InputError: the first contradiction.
    """
    if config.folds == 1 or (config.folds and config.fold >= config.folds):
        raise InputError(f"--folds={config.folds} --fold={config.fold}: take 2 folds or more, and a fold below that")
    if config.folds and config.val_fraction:
        raise InputError(f"--folds={config.folds} and --val_fraction={config.val_fraction} both split; take one")
    if config.sampling and config.class_weights:
        raise InputError("--sampling=balanced and --class_weights=balanced both balance the classes; take one")
    if config.sampling and config.repeats > 1:
        raise InputError(f"--sampling=balanced repeats examples itself; leave --repeats={config.repeats} out")


# Options that change pictures in ways that masks do not follow, or that are of one label a picture.
NOT_FOR_MASKS = (
    *("mixup", "cutmix", "erase", "cutout", "auto_augment", "progressive", "repeats", "teacher"),
    *("sampling", "val_fraction", "folds", "eval_image_size", "steps_per_call", "eval_crop", "links_out"),
    *("crop", "crop_scale", "crop_ratio", "crop_padding", "train_interpolation"),
)


def check_mask_options(config: Config) -> None:
    """Refuse options that do not go with masks, or with pictures without masks.

    Raises:
        InputError: the first of them.
    """
    masks = uses_masks(config)
    if not masks:
        if config.class_weights not in BALANCES:
            raise InputError(f"--class_weights={config.class_weights} is for --dataset=masks")
        if config.loss in ("dice", "entropy_and_dice", "focal"):
            raise InputError(f"--loss={config.loss} is for --dataset=masks")
        return
    for name in NOT_FOR_MASKS:
        if resolve(config, name) != resolve(Config(), name):
            raise InputError(f"--{name}{shown(getattr(config, name))} does not go with masks; leave it out")
    if config.eval_views == "flip_translate":
        raise InputError("--eval_views=flip_translate does not go with masks; take flip, or center")
    if config.label_smoothing and config.loss in ("dice", "focal"):
        raise InputError(f"--label_smoothing is of cross-entropy, not of --loss={config.loss}; leave it out")
    if len(config.crop_size) not in (0, 2):
        raise InputError(f"--crop_size{shown(config.crop_size)}: give height and width, or leave it out")
    if config.scale[0] > config.scale[1]:
        raise InputError(f"--scale{shown(config.scale)}: the smaller one comes first")
    if config.scale != (1.0, 1.0) and not (config.crop_size or config.image_size):
        raise InputError(f"--scale{shown(config.scale)} needs crops of one size: --crop_size=HEIGHT WIDTH")
