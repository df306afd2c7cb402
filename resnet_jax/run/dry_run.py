"""What a training would do, without doing it: its settings, and how they change from the first step to the last."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from resnet_jax.analysis.plots.curves import draw_trace
from resnet_jax.config.options import Config
from resnet_jax.data.augment.policies import policy
from resnet_jax.data.build import build_sizes
from resnet_jax.data.order import check_train
from resnet_jax.data.sources.load import load_source
from resnet_jax.errors import InputError
from resnet_jax.models.build import build_model, check_classifier
from resnet_jax.optim.build import build_ema, build_optimizer, build_schedule, training_steps
from resnet_jax.optim.optimizers import DECAYS

# Training images of the sets that recipes are written for, where the data are not at hand.
SMALL_SIZES = {"cifar10": 32, "cifar100": 32, "digits": 8}
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
        decay: what part of a decaying weight is taken away in that step; NaN where it depends on the weights (LARS,
            LAMB, RMSprop).
        image_size: pixels a side.
        ema: what the average keeps of itself in that step; 1 where it is not updated, or none is kept.
    """

    step: np.ndarray
    epoch: np.ndarray
    learning_rate: np.ndarray
    decay: np.ndarray
    image_size: np.ndarray
    ema: np.ndarray


def dry_run(config: Config) -> Trace:
    """Prints what a config's training would do and draws it to WORKDIR/dry_run.png; nothing is trained.

    Raises:
        InputError: the size of the data set is not known, and it is not at hand.
    """
    images = training_images(config)
    check_train(images, config.batch_size, config.seed, config.repeats)
    model = build_model(config, 1000)
    if config.auto_augment:
        policy(config.auto_augment)
    trace = trace_of(config, images, POINTS)
    for size in np.unique(trace.image_size).tolist():
        check_classifier(model, config.model, size)
    print(f"{config.model}, --recipe={config.recipe}: {images:,} training images, {trace.step[-1] + 1:,} steps")
    for name, value in settings(config).items():
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


def training_images(config: Config) -> int:
    """How many training images a config's data set has."""
    try:
        return len(load_source(config.dataset, "train", config.data_dir or None, 0))
    except InputError:
        if config.dataset in TRAINING_IMAGES and not config.data_dir:
            return TRAINING_IMAGES[config.dataset]
        raise


def trace_of(config: Config, images: int, points: int) -> Trace:
    """How the settings of a training on so many images change, at that many of its steps.

    Raises:
        InputError: an optimizer that does not have this kind of decay.
    """
    total_steps = training_steps(config, images)
    step = np.unique(np.linspace(0, total_steps - 1, points).round().astype(np.int64))
    schedule = build_schedule(config, total_steps)
    build_optimizer(config, schedule, total_steps)
    rate = np.asarray(jax.vmap(schedule)(jnp.asarray(step)))
    sizes = build_sizes(config, config.image_size or SMALL_SIZES.get(config.dataset, 0), images)
    average = build_ema(config, total_steps)
    # At the update nearest to each step: between updates the average rests.
    updates = jnp.asarray((step // config.ema_every + 1) * config.ema_every)
    kept = np.ones(len(step)) if average is None else np.asarray(jax.vmap(average.decay_at)(updates))
    # Of L2 under momentum, a gradient that stays the same is taken 1 / (1 - momentum) times.
    l2 = (config.decay or DECAYS[config.optimizer][0]) == "l2"
    gain = 1 / (1 - config.momentum) if l2 and config.momentum < 1 else 1.0
    plain = config.optimizer in ("sgd", "adamw", "muon")
    return Trace(
        step=step,
        epoch=step * config.batch_size / images,
        learning_rate=rate,
        decay=rate * config.weight_decay * gain if plain else np.full(len(step), np.nan),
        image_size=np.array([sizes(int(s)) for s in step]),
        ema=kept,
    )


def settings(config: Config) -> dict[str, Any]:
    """What of a config differs from the bare defaults, but for where things lie."""
    bare = asdict(Config())
    hidden = ("workdir", "data_dir", "model", "recipe", "depth", "dry_run", "debug", "num_workers")
    return {name: value for name, value in asdict(config).items() if value != bare[name] and name not in hidden}


def augmentation(config: Config) -> str:
    """The augmentations of a config in one line."""
    if config.image_size and config.dataset not in SMALL_SIZES:
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
