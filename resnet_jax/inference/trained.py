"""A trained network with all that its use takes: from a run's folder, or from a set of weights."""

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from flax import linen as nn

from resnet_jax.config.options import Config
from resnet_jax.data.sources.cifar import LAYOUTS
from resnet_jax.data.sources.imagenet_classes import wnids
from resnet_jax.errors import InputError
from resnet_jax.inference.restore import restore_run
from resnet_jax.models.registry import create_model
from resnet_jax.weights.catalog import known_weights
from resnet_jax.weights.pretrained import exact_variables, open_weights
from resnet_jax.workdir.folder import read_run_config


@dataclass(frozen=True)
class Trained:
    """A network that may be asked.

    Attributes:
        config: how it sees images.
        model: the network.
        variables: its trained variables.
        image_size: pixels a side of what it sees.
        class_names: K names; None when nobody said.
        source: the run's folder, or the weights.
    """

    config: Config
    model: nn.Module
    variables: Any
    image_size: int
    class_names: tuple[str, ...] | None
    source: str

    @property
    def num_classes(self) -> int:
        """K."""
        return cast(Any, self.model).num_classes

    def name_of(self, k: int) -> str:
        """What class k is called."""
        return self.class_names[k] if self.class_names else f"class {k}"


@dataclass(frozen=True, kw_only=True)
class WhichNetwork:
    """Options that name a trained network."""

    workdir: str = ""
    """Folder of a training run."""
    checkpoint: str = "newest"
    """Of the run: newest, best, or a step."""
    ema: bool = False
    """The average of the run's weights instead of the weights."""
    model: str = ""
    """Instead of a run: a network by name, with --weights."""
    weights: str = ""
    """A .safetensors, .npz or .pth file, a TensorFlow.js folder, or a hub id such as timm/resnet50.tv_in1k; images are
    preprocessed as these weights need it. Empty: the network's default on the hub."""
    num_classes: int = 0
    """Outputs of the weights' head. 0: what the file says, or else the network's own."""
    image_size: int = 0
    """Pixels a side of what the network is to see. 0: the run's or the weights' own."""
    resize: int = 0
    """Shorter side of the image before the center crop. 0: in proportion, as the run or the weights have it."""


def load_trained(which: WhichNetwork) -> Trained:
    """The network that a command's options name.

    Raises:
        InputError: they name none or two, or it cannot be read.
    """
    if bool(which.workdir) == bool(which.model):
        raise InputError("name one: --workdir=RUN, or --model=NAME with --weights=FILE_OR_HUB_ID")
    if which.ema and not which.workdir:
        raise InputError("--ema goes with --workdir: only runs keep an average")
    if which.workdir and which.weights:
        raise InputError("--weights goes with --model=NAME, not with --workdir")
    if which.workdir:
        trained = trained_from_run(which.workdir, which.checkpoint, ema=which.ema)
    else:
        trained = trained_from_weights(which.model, which.weights or None, which.num_classes)
    size = which.image_size or trained.image_size
    scaled = round(trained.config.eval_resize * size / trained.image_size)
    config = dataclasses.replace(trained.config, eval_resize=which.resize or scaled)
    return dataclasses.replace(trained, config=config, image_size=size)


def load_ensemble(networks: Sequence[str], checkpoint: str = "newest", *, ema: bool = False) -> list[Trained]:
    """The networks of an ensemble.

    Args:
        networks: a run's folder each, or NAME:WEIGHTS, a network's name and what `--weights` takes.
        checkpoint: of the runs.
        ema: of the runs, the average of the weights.

    Raises:
        InputError: there are less than two, or one cannot be read.
    """
    if len(networks) < 2:
        raise InputError(f"--ensemble {' '.join(networks)}: name two networks or more, or take --workdir or --model")
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


def trained_from_run(workdir: str | Path, which: str | int = "newest", *, ema: bool = False) -> Trained:
    """A run's network; arguments and errors are `restore_run`'s."""
    config, model, variables = restore_run(workdir, which, ema=ema)
    _, facts = read_run_config(Path(workdir).absolute())
    return Trained(config, model, variables, facts["image_size"], tuple(facts["class_names"]), str(workdir))


def trained_from_weights(name: str, source: str | Path | None = None, num_classes: int = 0) -> Trained:
    """A network with a set of weights, its images preprocessed as these weights need it.

    Where nothing is known of the weights, it is as for the same network from torchvision, or as CIFAR-10 is normalized
    here for a CIFAR network.

    Args:
        name: the network.
        source: as in `load_pretrained`.
        num_classes: K of the weights' head; 0 is what the file says, or else the network's own.

    Raises:
        InputError: as `load_pretrained`; a head of another width is one too.
    """
    weights = open_weights(name, source)
    for line in weights.lines:
        print(line, file=sys.stderr)
    known = known_weights(weights.source)
    cifar = name.endswith("_cifar")
    seen = weights.preprocessing
    width = num_classes or len(weights.class_names or ()) or None
    variables = exact_variables(weights, width)
    dataset = known.dataset if known else "cifar10" if cifar else "imagenet2012"
    config = Config(
        model=name,
        dataset=dataset,
        image_size=seen.image_size,
        eval_resize=seen.resize,
        mean=seen.mean,
        std=seen.std,
        interpolation=seen.interpolation,
        eval_batch_size=64,
    )
    names = wnids() if dataset == "imagenet2012" else LAYOUTS[dataset].class_names
    usual_names = names if width in (None, len(names)) and (known or not cifar) else None
    return Trained(
        config=config,
        model=create_model(name, num_classes=width, **weights.options),
        variables=variables,
        image_size=seen.image_size,
        class_names=weights.class_names or usual_names,
        source=weights.source,
    )


def check_classes(name: str, theirs: Sequence[str], trained: Trained) -> None:
    """Refuse a set whose labels do not mean what the network's outputs mean.

    Raises:
        InputError: it has another number of classes, or, where the network's have names, other names.
    """
    ours = trained.class_names
    if len(theirs) != trained.num_classes:
        raise InputError(f"--dataset={name} has {len(theirs)} classes, the network {trained.num_classes}")
    if different := [(a, b) for a, b in zip(theirs, ours or theirs, strict=True) if a != b]:
        theirs_first, ours_first = different[0]
        raise InputError(f"--dataset={name} has a class {theirs_first!r} where the network has {ours_first!r}")
