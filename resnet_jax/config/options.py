"""Every option of a training run, in one flat frozen dataclass."""

import dataclasses
import json
from dataclasses import dataclass
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
    """digits, cifar10, cifar100, folder, fake, imagenet2012, or the name of any image set of TensorFlow Datasets;
    prepared, for what experiments.prepare made of one."""
    data_dir: str = ""
    """Where the data are: a folder with train/CLASS/ and val/CLASS/, CIFAR's binary files, or prepared data."""
    image_size: int = 224
    """Pixels a side of what the network sees. 0: as the data set has them (digits, CIFAR)."""
    eval_image_size: int = 0
    """Pixels a side in evaluation; larger than image_size it makes up for the larger objects of training crops (FixRes,
    Touvron et al. 2019). 0: image_size."""
    eval_resize: int = 0
    """Shorter side before the center crop of evaluation. 0: eval_image_size / eval_crop."""
    eval_crop: float = 0.875
    """Side of the center crop of evaluation, as a part of the shorter side."""
    eval_views: Literal["center", "flip", "flip_translate"] = "center"
    """What the logits of evaluation are averaged over: the image; and its mirror image; and both moved by a pixel."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """How photographs are resized, antialiased."""
    train_interpolation: Literal["", "bilinear", "bicubic", "random", "fast"] = ""
    """The same for training crops: random is drawn for every image, fast is nearly bilinear and needs OpenCV (extra
    `fast`). Empty: as --interpolation."""
    mean: tuple[float, ...] = ()
    """Of R, G, B in [0, 1], subtracted from every image. Empty: the data set's own, ImageNet's where none is known."""
    std: tuple[float, ...] = ()
    """Of R, G, B, by which the difference is divided; empty as --mean."""
    crop: Literal["random_resized", "scale_jitter"] = "random_resized"
    """Training crop of photographs: a part of the area (Szegedy et al. 2015), or a crop of image_size from the
    image resized to a shorter side of 256 to 480 at image_size 224 (He et al. 2015)."""
    crop_scale: tuple[float, float] = (0.08, 1.0)
    """Smallest and largest part of the area that random_resized takes."""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Narrowest and widest width / height that it takes."""
    crop_padding: int = 4
    """Pixels around small images (digits, CIFAR) before the random crop."""
    padding_mode: Literal["zeros", "reflect"] = "zeros"
    """What these pixels show."""
    flip: Literal["random", "alternating", "none"] = "random"
    """Mirror half of the training images: by chance, or each in every other epoch (Jordan 2024)."""
    auto_augment: str = ""
    """Operations drawn for every image: rand-m7-mstd0.5-inc1 (RandAugment, as timm writes it), randaugment-n2-m9 (the
    paper's), ta_wide (TrivialAugment), augmix, 3a (gray, solarize or blur)."""
    color_jitter: float = 0.0
    """Brightness, contrast and saturation times 1 - this to 1 + this."""
    lighting: float = 0.0
    """Standard deviation of AlexNet's noise along the principal components of color."""
    erase: float = 0.0
    """Probability with which a random rectangle of an image is erased (Zhong et al. 2017)."""
    erase_fill: Literal["zero", "noise"] = "zero"
    """What is there instead: the mean color, or normal noise."""
    cutout: int = 0
    """Side in pixels of a square that is erased in every image (DeVries and Taylor 2017). 0: none."""
    mixup: float = 0.0
    """Alpha of the beta distribution by which two images and their labels are averaged (Zhang et al. 2017). 0: off."""
    cutmix: float = 0.0
    """The same for pasting a rectangle of one image into another (Yun et al. 2019). With both, each half the time."""
    mix_probability: float = 1.0
    """Share of the batches that are mixed at all."""
    repeats: int = 1
    """Views of an example in a batch (repeated augmentation, Hoffer et al. 2020). An epoch then shows that many times
    fewer examples."""
    progressive: str = ""
    """LOW:HIGH, pixels a side in training, which grow from epoch to epoch (160:192 is ffcv's); each size is compiled
    once. Empty: image_size throughout."""
    progressive_ramp: tuple[float, float] = (11 / 16, 13 / 16)
    """From where to where they grow, as fractions of the training."""
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

    optimizer: Literal["sgd", "adamw", "lamb", "lars", "muon", "rmsprop"] = "sgd"
    """SGD with momentum, Adam with decoupled decay, or another. Muon moves matrices and kernels; stem, head and the
    rest are moved by SGD at the same rate, as in airbench94_muon."""
    learning_rate: float = 0.1
    """Peak rate for a batch of reference_batch_size."""
    reference_batch_size: int = 256
    """The batch that learning_rate is meant for. 0: learning_rate is taken as it is."""
    rate_scaling: Literal["linear", "sqrt"] = "linear"
    """How the rate grows with the batch: in proportion (SGD, Goyal et al. 2017) or as its root (Adam, LAMB)."""
    momentum: float = 0.9
    """Of SGD, LARS, Muon and RMSprop; beta1 of Adam and LAMB."""
    nesterov: bool = False
    """Nesterov's form of the momentum, of SGD, LARS and Muon."""
    weight_decay: float = 1e-4
    """Coefficient of the decay."""
    decay: Literal["", "l2", "decoupled"] = ""
    """Added to the gradient, or to the update (times the rate). Empty: as the optimizer was published."""
    decay_norm_and_bias: bool = True
    """Whether normalization scales and biases decay too."""
    clip_norm: float = 0.0
    """Largest norm of the whole gradient. 0: any."""
    adaptive_clip: float = 0.0
    """Largest norm of a unit's gradient as a multiple of its weights' (Brock et al. 2021). 0: any."""
    layer_decay: float = 1.0
    """Each block's rate as a multiple of the next one's; below 1 for fine-tuning."""
    norm_bias_rate: float = 1.0
    """Rate of normalization biases as a multiple of the others' (airbench: 64)."""
    stem_fraction: float = 1.0
    """Part of the training after which the stem no longer changes."""
    schedule: Literal["step", "cosine", "linear", "polynomial", "constant"] = "step"
    """How the rate falls after the warm-up; linear with a warm-up is the one-cycle schedule, polynomial is a square."""
    milestones: tuple[float, ...] = ()
    """For the step schedule: where the rate is multiplied by milestone_factor, as fractions of the training."""
    milestone_factor: float = 0.1
    """See above."""
    final_fraction: float = 0.0
    """The last rate as a part of the peak, of the schedules that fall steadily."""
    warmup_fraction: float = 0.0
    """Length of the warm-up, as a fraction of the training."""
    warmup: Literal["linear", "constant"] = "linear"
    """Climb to the peak rate, or stay at warmup_learning_rate until the warm-up ends."""
    warmup_learning_rate: float = 0.0
    """The rate of the first step when there is a warm-up; not scaled with the batch, but never above the peak."""
    warmup_from: float = 0.0
    """The same as a part of the peak; the larger of the two counts."""
    accumulate: int = 1
    """Micro-batches that a step works through one after the other, for want of memory. Each is normalized by itself,
    or in groups of --bn_group_size, which gives what the whole batch would give."""

    loss: Literal["cross_entropy", "binary_cross_entropy"] = "cross_entropy"
    """One question of K answers, or K questions of yes and no."""
    target_threshold: float = -1.0
    """Of binary cross-entropy: targets above it are asked for in full, the others not at all. Negative: as they are."""
    label_smoothing: float = 0.0
    """Share of the target spread over all classes."""
    teacher: str = ""
    """Folder of a run, or with --teacher_weights the name of a network, from whose answers is learnt too."""
    teacher_weights: str = ""
    """Its weights: a file or a hub id."""
    distill_weight: float = 0.5
    """The teacher's share of the loss."""
    temperature: float = 1.0
    """Softens the teacher's answers and one's own (Hinton et al. 2015). 0: only the teacher's best class counts."""

    ema: float = 0.0
    """What an average of the weights keeps of itself at every update; it is evaluated beside the weights, and decides
    which checkpoint is the best. 0: none."""
    ema_fraction: float = 0.0
    """The same as a time: over what part of the training the average reaches back; wins over --ema when not 0."""
    ema_every: int = 1
    """Steps between its updates."""
    ema_rise: Literal["none", "ramp", "copy", "cubic"] = "ramp"
    """How --ema rises at the start: (1 + n) / (10 + n) at the n-th update, 0 during the warm-up of the rate, or with
    the cube of the step."""
    lookahead: bool = False
    """Set the weights to their average at every update (Zhang et al. 2019), which is then not evaluated besides."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the computation; parameters, statistics, logits and loss stay float32."""
    bn_group_size: int = 0
    """Examples that are normalized together. 0: the whole batch."""
    zero_init: bool = False
    """Start every residual block as its shortcut (last normalization scale zero)."""
    shortcut: Literal["", "A", "B", "C", "none"] = ""
    """The paper's options: zero-padded identity, projection where shapes change, projection everywhere, plain network.
    Empty: the network's own."""
    stem: Literal["", "imagenet", "cifar"] = ""
    """7x7 at stride 2 and pooling, or 3x3 for small images. Empty: the network's own."""
    norm: Literal["", "batch", "group", "frozen"] = ""
    """Batch normalization, GroupNorm of 32 groups, or batch normalization whose statistics, scales and biases stay as
    they are. Empty: the network's own."""
    stochastic_depth: float = 0.0
    """Probability with which the last residual block is left out of a training step; it rises linearly from 0."""
    dropout: float = 0.0
    """Probability with which a value is dropped, in networks that have dropout. 0: the network's own."""
    blur_strides: bool = False
    """Blur before convolutions of stride 2, as ffcv does."""
    scan: bool = False
    """Compile the identical blocks of a stage once: compile time no longer grows with depth."""
    remat: bool = False
    """Compute the activations within a block again for the gradient instead of keeping them: less memory (on CPUs only
    with --scan)."""
    width: int = 0
    """Filters of the first stage. 0: the network's own."""
    seed: int = 0
    """Of the initial parameters, the order of the data and their augmentation."""

    steps_per_call: int = 1
    """Steps that are given to the device at once, of sets that live on it (digits, CIFAR). On a GPU small networks wait
    for the host otherwise. A call ends early where a log line, a checkpoint or an evaluation is due."""
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
    fsdp: bool = False
    """Divide parameters, their average and the optimizer's state over all devices, which gather the parameters for
    every step (ZeRO, Rajbhandari et al. 2020). Numbers change in nothing but rounding."""
    dry_run: bool = False
    """Print the settings and how they change over the training, draw it to WORKDIR/dry_run.png, and stop."""
    debug: bool = False
    """Print the traceback of an error."""


# What may differ when a run is continued: it changes where things lie or what is shown, never a number of the run; of
# fsdp, as of the number of devices, not more than the rounding. (`depth` is one way to say `model`.)
FREE_TO_CHANGE = {
    *("depth", "workdir", "data_dir", "num_workers", "keep", "tensorboard", "wandb", "debug", "dry_run"),
    *("coordinator_address", "num_processes", "process_id", "fsdp"),
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


def progressive_sizes(text: str) -> tuple[int, int] | None:
    """The sizes in --progressive=LOW:HIGH, or None when it is empty.

    Raises:
        InputError: it is something else.
    """
    if not text:
        return None
    low, _, high = text.partition(":")
    if not (low.isdecimal() and high.isdecimal() and 0 < int(low) <= int(high)):
        raise InputError(f"--progressive={text} is not LOW:HIGH in pixels, such as 160:192")
    return int(low), int(high)
