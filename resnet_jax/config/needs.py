"""Options that have no effect without another one: they are refused, so that nobody waits for what they would do."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from resnet_jax.config.options import Config, differences, uses_masks
from resnet_jax.errors import InputError
from resnet_jax.recipes import CIFAR, IMAGENET, SEGMENTATION, TRANSFER
from resnet_jax.recipes.recipe import AT_THE_END


def has_photographs(config: Config) -> bool:
    """Return whether the images may have any size; those of the others are small, and used whole."""
    return config.dataset not in ("digits", "cifar10", "cifar100")


# Options without effect by themselves, when they have one, and what to add.
MASK_OPTIONS = ("colors", "void_value", "crop_size", "scale", "rotate", "threshold")
Needs = Mapping[str, tuple[Callable[[Config], Any], str]]
NEEDS: Needs = {
    "fold": (lambda c: c.folds, "--folds"),
    **dict.fromkeys(MASK_OPTIONS, (uses_masks, "--dataset=masks")),
    "mix_probability": (lambda c: c.mixup or c.cutmix, "--mixup or --cutmix"),
    "erase_fill": (lambda c: c.erase, "--erase"),
    "progressive_ramp": (lambda c: c.progressive, "--progressive"),
    "padding_mode": (lambda c: c.crop_padding, "--crop_padding"),
    "teacher_weights": (lambda c: c.teacher, "--teacher"),
    "distill_weight": (lambda c: c.teacher, "--teacher"),
    "temperature": (lambda c: c.teacher, "--teacher"),
    "target_threshold": (lambda c: c.loss == "binary_cross_entropy", "--loss=binary_cross_entropy"),
    "nesterov": (lambda c: c.optimizer in ("sgd", "lars", "muon"), "--optimizer=sgd, lars or muon"),
    "milestones": (lambda c: c.schedule == "step", "--schedule=step"),
    "milestone_factor": (lambda c: c.schedule in ("step", "plateau"), "--schedule=step or plateau"),
    "plateau_patience": (lambda c: c.schedule == "plateau", "--schedule=plateau"),
    "final_fraction": (lambda c: c.schedule not in ("step", "constant", "plateau"), "a --schedule that falls steadily"),
    "init_checkpoint": (lambda c: c.init_from, "--init_from=RUN"),
    "weights_key": (lambda c: c.init_from or c.teacher, "--init_from or --teacher"),
    "unfreeze_at": (lambda c: c.freeze, "--freeze"),
    "patience": (lambda c: c.eval_every < AT_THE_END, "evaluations within the training, a smaller --eval_every"),
    "warmup": (lambda c: c.warmup_fraction, "--warmup_fraction"),
    "lookahead": (lambda c: c.ema or c.ema_fraction, "--ema, such as --ema=0.5 --ema_every=6 --ema_rise=none"),
    "ema_every": (lambda c: c.ema or c.ema_fraction, "--ema"),
    "ema_rise": (lambda c: c.ema or c.ema_fraction, "--ema"),
}


def draws_parts(config: Config) -> bool:
    """Return whether training crops are parts of photographs, of a drawn area and shape."""
    return has_photographs(config) and config.crop == "random_resized"


def crops_by_fraction(config: Config) -> bool:
    """Return whether evaluation crops a fraction of a photograph."""
    return has_photographs(config) and not config.eval_resize


def has_batch_norm(config: Config) -> bool:
    """Return whether statistics may be those of a batch, as far as options tell."""
    return config.norm in ("", "batch")


def has_width(config: Config) -> bool:
    """Return whether the network has a width to choose: a U-Net on a classifier has that classifier's."""
    return config.skips == "add" or not config.model.startswith("unet_")


# Likewise, but runs of older versions may have them.
NEEDS_OF_NEW_RUNS: Needs = {
    **dict.fromkeys(("crop", "interpolation"), (has_photographs, "photographs, and digits and CIFAR are used whole")),
    **dict.fromkeys(("crop_scale", "crop_ratio"), (draws_parts, "photographs, and --crop=random_resized")),
    "eval_crop": (crops_by_fraction, "photographs, and no --eval_resize"),
    "padding_mode": (lambda c: not has_photographs(c) or c.dataset == "fake", "small images, digits or CIFAR"),
    "bn_group_size": (has_batch_norm, "--norm=batch"),
    "width": (has_width, "--skips=add in a U-Net on a classifier"),
    "ema_rise": (lambda c: c.ema_rise != "copy" or c.warmup_fraction, "--warmup_fraction"),
    "train_interpolation": (lambda c: has_photographs(c) or c.progressive, "photographs, or --progressive"),
    **dict.fromkeys(("warmup_from", "warmup_learning_rate"), (lambda c: c.warmup_fraction, "--warmup_fraction")),
    "rate_scaling": (lambda c: c.reference_batch_size, "--reference_batch_size"),
}


def check_new_run(config: Config) -> None:
    """Refuse what only a run that is under way may have, begun by an older version.

    Raises:
        InputError: the first such option.
    """
    if config.depth and not re.search(rf"resnet{config.depth}(?!\d)", config.model):
        raise InputError(
            f"--depth={config.depth} names another network than --model={config.model}; in Python model= alone names it"
        )
    if config.output_stride not in (0, 8, 16, 32):
        raise InputError(f"--output_stride={config.output_stride}: take 8, 16 or 32")
    check_recipe(config)
    check_needs(config, NEEDS_OF_NEW_RUNS)
    first_rate = config.warmup_learning_rate or config.warmup_from
    if config.warmup == "constant" and config.warmup_fraction and not first_rate:
        raise InputError("--warmup=constant is of rate 0 here; give --warmup_learning_rate or --warmup_from")


def configs_of_recipe(name: str) -> list[Config]:
    """Return the configs of the recipes of that name, each on the bare defaults."""
    known = (IMAGENET, CIFAR, TRANSFER, SEGMENTATION)
    return [replace(Config(), **recipes[name].settings) for recipes in known if name in recipes]


def check_recipe(config: Config) -> None:
    """Refuse a config that names a recipe and has none of its settings, as one that was written in Python may.

    Raises:
        InputError: it is.
    """
    bare, of_recipe = Config(), configs_of_recipe(config.recipe)
    if of_recipe and not any(set(differences(bare, r)) & set(differences(bare, config)) for r in of_recipe):
        raise InputError(
            f"recipe={config.recipe} names a recipe, and the config has none of its settings; in Python they are "
            f"Config(recipe={config.recipe!r}, **recipe.settings) with a recipe of resnet_jax.recipes"
        )


def check_needs(config: Config, needs: Needs = NEEDS) -> None:
    """Refuse an option that has no effect, unless a recipe set it and another option disabled it.

    Raises:
        InputError: the first such option.
    """
    usual = [Config(), *configs_of_recipe(config.recipe)]
    for name, (works, needed) in needs.items():
        value = getattr(config, name)
        if not works(config) and all(value != getattr(c, name) for c in usual):
            raise InputError(f"--{name}{shown(value)} does nothing here: it needs {needed}")


def shown(value: object) -> str:
    """Return the value of an option as it is written behind the option's name."""
    return "".join(f" {v}" for v in value) if isinstance(value, tuple) else f"={value}"
