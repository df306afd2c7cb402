"""Every option of a training run, in one flat frozen dataclass, and its way to JSON and back."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from resnet_jax.config.image_options import AugmentationOptions, DataOptions
from resnet_jax.config.run_options import (
    DevicesOptions,
    LoggingOptions,
    ModelOptions,
    PrecisionAndMemoryOptions,
    RunOptions,
)
from resnet_jax.config.segmentation_options import SegmentationOptions
from resnet_jax.config.training_options import (
    AverageOptions,
    BatchAndLengthOptions,
    LearningRateOptions,
    LossOptions,
    OptimizerOptions,
    RegularizationOptions,
)
from resnet_jax.config.transfer_options import TransferOptions
from resnet_jax.errors import InputError


# A base is a titled group of --help. A dataclass has the fields of its last base first.
@dataclass(frozen=True)
class Config(
    DevicesOptions,
    LoggingOptions,
    PrecisionAndMemoryOptions,
    AverageOptions,
    LossOptions,
    RegularizationOptions,
    LearningRateOptions,
    OptimizerOptions,
    BatchAndLengthOptions,
    AugmentationOptions,
    DataOptions,
    SegmentationOptions,
    TransferOptions,
    ModelOptions,
    RunOptions,
):
    """A training run. Values given on the command line win over the recipe's, and those over the experiment's."""


MOST_STEPS = 2**31 - 1  # of a training, which counts them in int32

# Values of options that neither the command line nor weights decide: 224 pixels of 256, as in fb.resnet.torch.
IF_UNSET = {"eval_crop": 0.875, "interpolation": "bilinear"}

# Options that may differ between the processes of a run: where and how each works, and never what it computes.
PROCESS_OPTIONS = {
    *("depth", "workdir", "data_dir", "num_workers", "debug"),
    *("coordinator_address", "process_id", "connect_timeout", "stall_minutes"),
}

# Options that may differ when a run is continued: they change where files lie or what is shown, never a number of the
# run; fsdp, like the number of devices, changes the rounding only. (`depth` is another way to name `model`.)
FREE_TO_CHANGE = {
    *PROCESS_OPTIONS,
    *("keep", "tensorboard", "wandb", "dry_run", "num_processes", "fsdp"),
    *("find_rate", "find_batch", "links_out"),
    "require_accelerator",
}


def differences(old: Config, new: Config) -> list[str]:
    """Return "--name=NEW where the run has OLD" for every option that decides the run's numbers and differs."""
    return [
        f"--{f.name}={resolve(new, f.name)} where the run has {resolve(old, f.name)}"
        for f in dataclasses.fields(Config)
        if f.name not in FREE_TO_CHANGE and resolve(old, f.name) != resolve(new, f.name)
    ]


def resolve(config: Config, name: str) -> Any:
    """Return the value that an option has; of one that is unset, that of `IF_UNSET`."""
    value = getattr(config, name)
    return value or IF_UNSET.get(name, value)


def uses_masks(config: Config) -> bool:
    """Return whether the data are pictures with masks: files, or "masks:NAME" of TFDS."""
    return config.dataset == "masks" or config.dataset.startswith("masks:")


def from_json(values: dict[str, Any]) -> Config:
    """Return the config that `dataclasses.asdict` turned into these JSON values.

    Raises:
        TypeError: an unknown option.
    """
    options: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return Config(**options)


def thaw_step(config: Config, num_train: int) -> int:
    """Return the steps after which --unfreeze_at lets what is frozen learn; 0: it never does."""
    return round(config.unfreeze_at * num_train / config.batch_size)


def progressive_sizes(text: str) -> tuple[int, int] | None:
    """Return the sizes in --progressive=LOW:HIGH, or None when it is empty.

    Raises:
        InputError: it is anything else.
    """
    if not text:
        return None
    low, _, high = text.partition(":")
    if not (low.isdecimal() and high.isdecimal() and 0 < int(low) <= int(high)):
        raise InputError(f"--progressive={text} is not LOW:HIGH in pixels, such as 160:192")
    return int(low), int(high)
