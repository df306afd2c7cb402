"""Trained networks by the options of a command: one, or an ensemble."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from resnet_jax.errors import InputError
from resnet_jax.inference.trained import Trained, load_trained, trained_from_run, trained_from_weights
from resnet_jax.weights.image_config import Interpolation


@dataclass(frozen=True, kw_only=True)
class WhichNetwork:
    """Options that name a trained network."""

    workdir: str = ""
    """Folder of a training run."""
    checkpoint: str = "newest"
    """Checkpoint of the run: newest, best, or a step."""
    ema: bool = False
    """Use the average of the run's weights instead of the weights."""
    model: str = ""
    """Instead of a run: a network by name, with --weights."""
    weights: str = ""
    """A .safetensors, .npz or .pth file, a TensorFlow.js folder, or a hub id such as timm/resnet50.tv_in1k; images are
    preprocessed as these weights need it. Empty: the network's default on the hub."""
    weights_key: str = ""
    """Set of weights to take from a file that holds several, such as state_dict_ema. Empty: the usual one."""
    num_classes: int = 0
    """Outputs of the weights' head. 0: as the file says, or else the network's own."""
    image_size: int = 0
    """Pixels a side of the network's input. 0: the run's or the weights' own."""
    resize: int = 0
    """Shorter side of the image before the center crop. 0: in proportion, as the run or the weights have it."""
    mean: tuple[float, ...] = ()
    """Means of R, G, B in [0, 1], of weights whose own is not known. Empty: assumed, and printed."""
    std: tuple[float, ...] = ()
    """Standard deviations of R, G, B, of such weights. Empty: as --mean."""
    interpolation: Interpolation = ""
    """Resizing of the images of such weights. Empty: as --mean."""


def load_named(options: WhichNetwork) -> Trained:
    """Load the network that a command's options name; raises as `load_trained`."""
    return load_trained(**{field.name: getattr(options, field.name) for field in fields(WhichNetwork)})


def load_ensemble(networks: Sequence[str], checkpoint: str = "newest", *, ema: bool = False) -> list[Trained]:
    """Load the networks of an ensemble.

    Args:
        networks: each a run's folder, or NAME:WEIGHTS, a network's name and a value of `--weights`.
        checkpoint: of the runs.
        ema: use the average of the runs' weights.

    Raises:
        InputError: there are less than two, or one cannot be read.
    """
    if len(networks) < 2:
        raise InputError(f"--ensemble {' '.join(networks)}: name two networks or more, or take --workdir or --model")
    given = [name for name, is_given in (("ema", ema), ("checkpoint", checkpoint != "newest")) if is_given]
    if given and not any(Path(entry).is_dir() for entry in networks):
        raise InputError(f"--{given[0]} is of a run, and --ensemble {' '.join(networks)} names none")
    members = []
    for entry in networks:
        name, colon, weights = entry.partition(":")
        if Path(entry).is_dir():
            members.append(trained_from_run(entry, checkpoint, ema=ema))
        elif colon:
            members.append(trained_from_weights(name, weights or None))
        else:
            raise InputError(f"--ensemble {entry}: there is no such folder; name a run's, or NAME:WEIGHTS_FILE")
    return members
