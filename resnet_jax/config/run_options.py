"""Options of the run itself: what it is called, which network, at what precision, what it logs, on which devices."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class RunOptions:
    """Run."""

    recipe: str = ""
    """Published training to start from; any other option overrides its settings"""
    workdir: str = ""
    """Folder of the run; the same command again continues it. Empty: runs/DATASET-MODEL-RECIPE"""
    seed: int = 0
    """Seed of the initial parameters, the data order and the augmentation"""
    dry_run: bool = False
    """Print and draw the settings and their schedules, and stop

    The figure is WORKDIR/dry_run.png; nothing is trained.
    """
    find_rate: bool = False
    """Try rising rates from the first weights, draw the losses, suggest a rate, and stop

    The figure is WORKDIR/find_rate.png.
    """
    find_batch: bool = False
    """Print the largest --batch_size that fits in memory, and stop"""
    debug: bool = False
    """Print the traceback of an error"""


@dataclass(frozen=True)
class ModelOptions:
    """Model."""

    model: str = ""
    """Network; `python -m experiments.models` lists them"""
    depth: int = 0
    """Layers, a short way to name the network: 50 is resnet50. 0: see --model

    experiments.cifar makes resnet{depth}_cifar of it.
    """
    width: int = 0
    """Filters of the first stage (U-Nets with --skips=add: of the decoder). 0: its own"""
    stem: Literal["", "imagenet", "cifar"] = ""
    """7x7 at stride 2 and pooling, or 3x3. Empty: the network's own"""
    shortcut: Literal["", "A", "B", "C", "none"] = ""
    """Shortcuts of He et al. 2015. Empty: the network's own

    A: zero-padded identity; B: projection where shapes change; C: projection everywhere; none: plain network.
    """
    norm: Literal["", "batch", "group", "frozen"] = ""
    """Normalization. Empty: the network's own

    group: GroupNorm of 32 groups; frozen: batch normalization whose statistics, scales and biases do not change, for
    trained weights only.
    """
    bn_group_size: int = 0
    """Examples that batch normalization normalizes together. 0: the whole batch"""
    zero_init: bool = False
    """Start every residual block as its shortcut (last normalization scale zero)"""
    blur_strides: bool = False
    """Blur before convolutions of stride 2, as ffcv does"""


@dataclass(frozen=True)
class PrecisionAndMemoryOptions:
    """Precision and memory."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the computation; parameters and loss stay float32

    GPUs multiply float32 as TF32, of 10 bits, and sum in float32.
    """
    scan: bool = False
    """Compile identical blocks once: compile time does not grow with depth"""
    remat: bool = False
    """Recompute activations in the backward pass (on CPUs with --scan only)"""
    deterministic: bool = False
    """On GPUs, the same bits at every repetition (--xla_gpu_deterministic_ops)

    CPUs and TPUs give them without.
    """


@dataclass(frozen=True)
class LoggingOptions:
    """Logging."""

    log_every: int = 50
    """Steps between lines of the training log"""
    eval_every: int = 0
    """Steps between evaluations. 0: an epoch"""
    checkpoint_every: int = 0
    """Steps between checkpoints. 0: as --eval_every

    Evaluated steps are saved too, so that the best can be kept.
    """
    keep: int = 2
    """Number of newest checkpoints to keep; the best is kept too"""
    tensorboard: bool = False
    """Write WORKDIR/tensorboard (extra `tensorboard`)"""
    wandb: bool = False
    """Log to Weights & Biases (extra `wandb`)"""


@dataclass(frozen=True)
class DevicesOptions:
    """Devices."""

    require_accelerator: bool = False
    """Refuse to train on a CPU"""
    coordinator_address: str = ""
    """HOST:PORT of process 0 of several; TPU pods and Slurm announce it"""
    num_processes: int = 0
    """Number of processes"""
    process_id: int = -1
    """Number of this process, from 0"""
    connect_timeout: float = 60.0
    """Seconds to wait for all processes to connect"""
    stall_minutes: float = 10.0
    """Minutes without a step after which the run ends with status 70. 0: never

    The stacks of all threads are printed. Before the first step it is three times as long, and later never less than
    twice the longest compilation or evaluation of the run.
    """
    fsdp: bool = False
    """Shard parameters and optimizer state over all devices (ZeRO)

    Rajbhandari et al. 2020. Every step all-gathers the parameters; numbers change by rounding only.
    """
