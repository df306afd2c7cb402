"""Every option of a training run, in one flat frozen dataclass."""

import dataclasses
import json
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Literal

from resnet_jax.errors import InputError


@dataclass(frozen=True)
class Config:
    """A training run. Values given on the command line win over the recipe's, and those over the experiment's."""

    model: str = ""
    """Network, by name; `python -m experiments.models` lists them. Empty: the experiment's family at --depth."""
    depth: int = 0
    """Layers, as a short way to name the network (50: resnet50, or resnet50_cifar in experiments.cifar). 0: --model."""
    recipe: str = ""
    """A named set of settings; the experiment's help lists them. Any other option overrides it."""

    workdir: str = ""
    """Folder of the run. Empty: runs/DATASET-MODEL-RECIPE. The same command again continues the run in it."""
    dataset: str = "folder"
    """digits, cifar10, cifar100, folder, fake, imagenet2012, or the name of any image set of TensorFlow Datasets."""
    data_dir: str = ""
    """Where the data are: a folder with train/CLASS/ and val/CLASS/, CIFAR's binary files, or prepared TFDS data."""
    image_size: int = 224
    """Pixels a side of what the network sees. 0: as the data set has them (digits, CIFAR)."""
    eval_resize: int = 0
    """Shorter side before the centre crop of evaluation. 0: image_size / 0.875 (256 for 224)."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """How photographs are resized, antialiased."""
    mean: tuple[float, ...] = ()
    """Of R, G, B in [0, 1], subtracted from every image. Empty: the data set's own, ImageNet's where none is known."""
    std: tuple[float, ...] = ()
    """Of R, G, B, by which the difference is divided; empty as --mean."""
    crop: Literal["random_resized", "scale_jitter"] = "random_resized"
    """Training crop of photographs: an area of 8 to 100 % (Szegedy et al. 2015), or a crop of image_size from the
    image resized to a shorter side of 256 to 480 at image_size 224 (He et al. 2015)."""
    crop_padding: int = 4
    """Zero pixels around small images (digits, CIFAR) before the random crop."""
    flip: bool = True
    """Mirror half of the training images."""
    num_workers: int = -1
    """Processes that decode photographs. 0: threads of this process; -1: one for every core but one, at most 16."""

    batch_size: int = 256
    """Examples a step, over all devices and hosts."""
    eval_batch_size: int = 0
    """Examples an evaluation step. 0: batch_size. The result does not depend on it."""
    epochs: float = 90.0
    """Length of the training, in passes over the data."""
    steps: int = 0
    """Length of the training in steps; wins over --epochs when not 0."""

    optimizer: Literal["sgd", "adamw"] = "sgd"
    """SGD with momentum, or Adam with decoupled weight decay."""
    learning_rate: float = 0.1
    """Peak rate for a batch of reference_batch_size; it is scaled in proportion to the batch."""
    reference_batch_size: int = 256
    """The batch that learning_rate is meant for. 0: learning_rate is taken as it is."""
    momentum: float = 0.9
    """Of SGD."""
    nesterov: bool = False
    """Nesterov's form of the momentum."""
    weight_decay: float = 1e-4
    """L2 coefficient."""
    decay_norm_and_bias: bool = True
    """Whether normalisation scales and biases decay too."""
    schedule: Literal["step", "cosine", "linear", "constant"] = "step"
    """How the rate falls after the warm-up; linear with a warm-up is the one-cycle schedule."""
    milestones: tuple[float, ...] = ()
    """For the step schedule: where the rate is divided by ten, as fractions of the training."""
    warmup_fraction: float = 0.0
    """Length of the warm-up, as a fraction of the training."""
    warmup: Literal["linear", "constant"] = "linear"
    """Climb to the peak rate, or stay at warmup_learning_rate until the warm-up ends."""
    warmup_learning_rate: float = 0.0
    """The rate of the first step when there is a warm-up; not scaled with the batch, but never above the peak."""
    label_smoothing: float = 0.0
    """Share of the target spread over all classes."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the computation; parameters, statistics, logits and loss stay float32."""
    bn_group_size: int = 0
    """Examples that are normalised together. 0: the whole batch."""
    zero_init: bool = False
    """Start every residual block as its shortcut (last normalisation scale zero)."""
    shortcut: Literal["", "A", "B", "C", "none"] = ""
    """The paper's options: zero-padded identity, projection where shapes change, projection everywhere, plain network.
    Empty: the network's own."""
    stem: Literal["", "imagenet", "cifar"] = ""
    """7x7 at stride 2 and pooling, or 3x3 for small images. Empty: the network's own."""
    norm: Literal["", "batch", "group", "frozen"] = ""
    """Batch normalisation, GroupNorm of 32 groups, or batch normalisation whose statistics, scales and biases stay as
    they are. Empty: the network's own."""
    stochastic_depth: float = 0.0
    """Probability with which the last residual block is left out of a training step; it rises linearly from 0."""
    width: int = 0
    """Filters of the first stage. 0: the network's own."""
    seed: int = 0
    """Of the initial parameters, the order of the data and their augmentation."""

    log_every: int = 50
    """Steps between lines of the training log."""
    eval_every: int = 0
    """Steps between evaluations. 0: an epoch."""
    checkpoint_every: int = 0
    """Steps between checkpoints. 0: as eval_every. Evaluated steps are saved besides, so that the best can be kept."""
    keep: int = 2
    """Newest checkpoints that stay, besides the best."""
    tensorboard: bool = False
    """Write WORKDIR/tensorboard (extra `tensorboard`)."""
    wandb: bool = False
    """Log to Weights & Biases (extra `wandb`)."""

    coordinator_address: str = ""
    """HOST:PORT of process 0, for a run over several processes or hosts. TPU and Slurm clusters announce it."""
    num_processes: int = 0
    """How many processes there are."""
    process_id: int = -1
    """Which of them this is, from 0."""
    debug: bool = False
    """Print the traceback of an error."""


# What may differ when a run is continued: it changes where things lie or what is shown, never a number of the run.
# (`depth` is one way to say `model`.)
FREE_TO_CHANGE = {
    *("depth", "workdir", "data_dir", "num_workers", "keep", "tensorboard", "wandb", "debug"),
    *("coordinator_address", "num_processes", "process_id"),
}


def differences(old: Config, new: Config) -> list[str]:
    """One "--name=NEW where the run has OLD" for every option that decides the run's numbers and differs."""
    return [
        f"--{f.name}={getattr(new, f.name)} where the run has {getattr(old, f.name)}"
        for f in dataclasses.fields(Config)
        if f.name not in FREE_TO_CHANGE and getattr(old, f.name) != getattr(new, f.name)
    ]


def from_json(values: dict[str, Any]) -> Config:
    """The config that `dataclasses.asdict` turned into these JSON values; unknown options raise a TypeError."""
    options: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return Config(**options)


def read_config(path: Path) -> tuple[Config, dict[str, Any]]:
    """The config in a run's config.json, and everything else that stands there (versions, class names, …)."""
    record = json.loads(path.read_text())
    return from_json(record.pop("config")), record


def check_config(config: Config) -> None:
    """Refuse values that no run can have.

    Raises:
        InputError: a number out of its range.
    """
    for name, low, high in RANGES:
        for value in getattr(config, name) if name == "milestones" else [getattr(config, name)]:
            if not low <= value <= high:
                bounds = f"at least {low}" if high == inf else f"between {low} and {high}"
                raise InputError(f"--{name}={value} must be {bounds}")
    if not config.steps and config.epochs <= 0:
        raise InputError(f"--epochs={config.epochs} must be positive")


# Smallest and largest value that a run can have. Milestones and the warm-up are fractions of the training.
RANGES: tuple[tuple[str, float, float], ...] = (
    *((name, 1, inf) for name in ("batch_size", "log_every", "keep")),
    *((name, 0, inf) for name in ("steps", "image_size", "eval_resize", "crop_padding", "eval_batch_size", "seed")),
    *((name, 0, inf) for name in ("learning_rate", "reference_batch_size", "weight_decay", "warmup_learning_rate")),
    *((name, 0, inf) for name in ("eval_every", "checkpoint_every", "bn_group_size", "width", "depth")),
    *((name, 0, 1) for name in ("milestones", "warmup_fraction", "momentum", "label_smoothing", "stochastic_depth")),
    ("num_workers", -1, inf),
)
