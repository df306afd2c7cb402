"""A dry run: the settings of a training, and how they change from the first step to the last."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from resnet_jax.analysis.plots.curves import draw_trace
from resnet_jax.config.options import Config, uses_masks
from resnet_jax.data.augment.policies import policy
from resnet_jax.data.build import folder_rule
from resnet_jax.data.build_masks import open_masks
from resnet_jax.data.build_sizes import build_sizes, image_size_of
from resnet_jax.data.sources.load import load_source
from resnet_jax.data.sources.source import pixels_of
from resnet_jax.errors import InputError
from resnet_jax.models.build import build_model
from resnet_jax.optim.build import build_length, build_optimizer
from resnet_jax.optim.optimizers import DECAYS
from resnet_jax.run.build import check_network

SMALL_SIZES = {"cifar10": 32, "cifar100": 32, "digits": 8}
# Training images of the sets that recipes are written for, where the data are not at hand.
TRAINING_IMAGES = {"imagenet2012": 1_281_167, "cifar10": 50_000, "cifar100": 50_000}
ROWS = 13  # of the printed table
POINTS = 600  # of the plot


@dataclass(frozen=True)
class Trace:
    """Settings against the steps of a training; arrays [N].

    Attributes:
        step: from 0 to the last.
        epoch: passes over the data before that step.
        learning_rate: of that step.
        decay: part of a decaying weight that the step takes away; NaN where it depends on the weights (LARS,
            LAMB, RMSprop).
        image_size: pixels a side.
        ema: part of itself that the average keeps in its next update, which that step may be; 1 where none is kept.
    """

    step: np.ndarray
    epoch: np.ndarray
    learning_rate: np.ndarray
    decay: np.ndarray
    image_size: np.ndarray
    ema: np.ndarray


def dry_run(config: Config) -> Trace:
    """Print the settings of a config's training and draw how they change to WORKDIR/dry_run.png; nothing is trained.

    Raises:
        InputError: the size of the data set is not known, and it is not at hand.
    """
    images, side = training_images(config)
    model = build_model(config, 1000)
    if config.auto_augment:
        policy(config.auto_augment)
    trace = trace_of(replace(config, image_size=side), images, POINTS)
    check_network(model, config, np.unique(trace.image_size).tolist())
    print(f"{config.model}, --recipe={config.recipe}: {images:,} training images, {trace.step[-1] + 1:,} steps")
    for name, value in changed_settings(config).items():
        print(f"  {name:22} {value}")
    columns = ("step", "epoch", "rate", "decay", "pixels", "ema")
    print("".join(f"{name:>13}" for name in columns))
    for at in np.linspace(0, len(trace.step) - 1, ROWS).round().astype(int):
        values = (f"{trace.step[at]:,}", f"{trace.epoch[at]:.2f}", f"{trace.learning_rate[at]:.6g}")
        kept = f"{trace.ema[at]:.5f}" if config.ema or config.ema_fraction else "-"
        decay = "-" if np.isnan(trace.decay[at]) else f"{trace.decay[at]:.3g}"
        print("".join(f"{value:>13}" for value in (*values, decay, trace.image_size[at], kept)))
    path = Path(config.workdir) / "dry_run.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_trace(asdict(trace), path, f"{config.model}, {config.recipe}: {augmentation(config)}")
    print(f"drawn to {path}")
    return trace


def training_images(config: Config) -> tuple[int, int]:
    """Return how many training images a config has, and their longer side in pixels: of crops, or of whole pictures.

    Raises:
        InputError: the data are not at hand and not known, or have no common size.
    """
    if uses_masks(config):
        source = open_masks(config, "train")
        return len(source), max(config.crop_size, default=config.image_size) or max(pixels_of(source[0]).shape)
    try:
        source = load_source(config.dataset, "train", config.data_dir or None, 0, folder_rule(config))
    except InputError:
        side = config.image_size or SMALL_SIZES.get(config.dataset, 0)
        if config.dataset in TRAINING_IMAGES and not config.data_dir and side:
            return TRAINING_IMAGES[config.dataset], side
        raise
    return len(source), image_size_of(source, config)


def trace_of(config: Config, images: int, points: int) -> Trace:
    """Return how the settings of a training on so many images change, at that many of its steps.

    Raises:
        InputError: an optimizer that does not have this kind of decay.
    """
    total_steps = build_length(config, images)
    step = np.unique(np.linspace(0, total_steps - 1, points).round().astype(np.int64))
    optimizer = build_optimizer(config, images)
    ema = optimizer.ema
    rate = np.asarray(jax.vmap(optimizer.schedule)(jnp.asarray(step)))
    sizes = build_sizes(config, config.image_size, images)
    kept = np.ones(len(step))
    if ema is not None:  # between updates the average rests
        updates = jnp.asarray((step // ema.every + 1) * ema.every)
        kept = np.asarray(jax.vmap(ema.decay_at)(updates))
    # Under momentum, a constant L2 gradient takes effect 1 / (1 - momentum) times.
    l2 = (config.decay or DECAYS[config.optimizer][0]) == "l2"
    gain = 1 / (1 - config.momentum) if l2 and config.momentum < 1 else 1.0
    # Adam scales an L2 gradient with the rest of it.
    plain = config.optimizer in ("sgd", "muon") or (config.optimizer == "adamw" and not l2)
    return Trace(
        step=step,
        epoch=step * config.batch_size / images,
        learning_rate=rate,
        decay=rate * config.weight_decay * gain if plain else np.full(len(step), np.nan),
        image_size=np.array([sizes(int(s)) for s in step]),
        ema=kept,
    )


def changed_settings(config: Config) -> dict[str, Any]:
    """Return the options of a config that differ from the bare defaults, without paths."""
    bare = asdict(Config())
    hidden = ("workdir", "data_dir", "model", "recipe", "depth", "dry_run", "debug", "num_workers")
    return {name: value for name, value in asdict(config).items() if value != bare[name] and name not in hidden}


def augmentation(config: Config) -> str:
    """Return the augmentations of a config in one line."""
    if uses_masks(config):
        sides = config.crop_size or (config.image_size,) * 2
        crop = f"crops of {sides[0]} x {sides[1]} px" if any(sides) else "whole pictures"
        crop += f", scaled by {config.scale[0]:g} to {config.scale[1]:g}, rotated by up to {config.rotate:g} degrees"
    elif config.image_size and config.dataset not in SMALL_SIZES:
        crop = f"{config.crop} crop"
    elif config.crop_padding:
        crop = f"moved by up to {config.crop_padding} px ({config.padding_mode})"
    else:
        crop = "no crop"
    parts = [crop, f"{config.flip} flip" if config.flip != "none" else "no flip"]
    parts += [
        f"{name} {getattr(config, name)}"
        for name in ("auto_augment", "color_jitter", "lighting", "erase", "cutout", "mixup", "cutmix")
        if getattr(config, name)
    ]
    if config.repeats > 1:
        parts.append(f"{config.repeats} views")
    return ", ".join(parts)
