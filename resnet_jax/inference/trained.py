"""Trained networks, ready for inference: from a run's folder, or from a set of weights."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

from flax import linen as nn

from resnet_jax.data.build import build_preprocessing
from resnet_jax.data.preprocessing import Preprocessing
from resnet_jax.data.sources.cifar import PUBLISHED
from resnet_jax.data.sources.imagenet_classes import wnids
from resnet_jax.errors import InputError
from resnet_jax.inference.restore import restore_run
from resnet_jax.models.registry import create_model
from resnet_jax.weights.catalog import known_weights
from resnet_jax.weights.pretrained import WeightSet, exact_variables, open_weights
from resnet_jax.workdir.folder import read_run_config


@dataclass(frozen=True)
class Trained:
    """A trained network, ready for inference.

    Attributes:
        name: of the network, as `create_model` calls it.
        model: the network, unrolled.
        variables: its trained variables.
        preprocessing: of its images.
        class_names: K names; None where they are not known.
        source: the run's folder, or the weights.
        dataset: the set that it was trained on.
        views: a key of `tta.VIEWS`, over which its own evaluation averages.
        batch_size: images at once in its own evaluation.
        run: config of the run that trained it; None for other weights.
    """

    name: str
    model: nn.Module
    variables: Any
    preprocessing: Preprocessing
    class_names: tuple[str, ...] | None
    source: str
    dataset: str
    views: str = "center"
    batch_size: int = 64
    run: Any = None

    @property
    def num_classes(self) -> int:
        """Number of classes, K."""
        return cast(Any, self.model).num_classes

    def class_name(self, k: int) -> str:
        """Return the name of class k."""
        return self.class_names[k] if self.class_names else f"class {k}"


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


def load_named(options: WhichNetwork) -> Trained:
    """Load the network that a command's options name; raises as `load_trained`."""
    return load_trained(**{field.name: getattr(options, field.name) for field in fields(WhichNetwork)})


def load_trained(
    workdir: str | Path = "",
    *,
    checkpoint: str | int = "newest",
    ema: bool = False,
    model: str = "",
    weights: str | Path = "",
    weights_key: str = "",
    num_classes: int = 0,
    image_size: int = 0,
    resize: int = 0,
) -> Trained:
    """Load a trained network: that of a run, or a network by name with a set of weights.

    Args:
        workdir: the run's folder.
        checkpoint: of the run: "newest", "best", or a step.
        ema: use the average of the run's weights.
        model: instead of a run: name of the network.
        weights: its weights, as in `load_pretrained`; empty is its default on the hub.
        weights_key: set of weights to take from a file that holds several; empty is the usual one.
        num_classes: K of the weights' head; 0 is as the file says, or else the network's own.
        image_size: pixels a side of the network's input; 0 is the run's or the weights' own.
        resize: shorter side before the center crop; 0 keeps the proportion of the run or the weights.

    Raises:
        InputError: the arguments name none or two, or it cannot be read.
    """
    if bool(workdir) == bool(model):
        raise InputError("name one: --workdir=RUN, or --model=NAME with --weights=FILE_OR_HUB_ID")
    if ema and not workdir:
        raise InputError("--ema goes with --workdir: only runs keep an average")
    if workdir and weights:
        raise InputError("--weights goes with --model=NAME, not with --workdir")
    if workdir:
        return trained_from_run(workdir, checkpoint, image_size, resize, ema=ema)
    trained = trained_from_weights(model, weights or None, num_classes, weights_key)
    size = image_size or trained.preprocessing.image_size
    return replace(trained, preprocessing=trained.preprocessing.at_size(size, resize))


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


def trained_from_run(
    workdir: str | Path, which: str | int = "newest", image_size: int = 0, resize: int = 0, *, ema: bool = False
) -> Trained:
    """Load the network of a run.

    Args:
        workdir: the run's folder.
        which: checkpoint, as in `restore_run`.
        image_size: pixels a side of the network's input; 0 is the run's own.
        resize: shorter side before the center crop; 0 keeps the run's proportion.
        ema: use the average of the weights.

    Raises:
        InputError: as `restore_run`.
    """
    config, model, variables = restore_run(workdir, which, ema=ema)
    _, facts = read_run_config(Path(workdir).absolute())
    own_size = facts["image_size"]
    size = image_size or own_size
    return Trained(
        name=config.model,
        model=model,
        variables=variables,
        preprocessing=build_preprocessing(config, size, resize or round(config.eval_resize * size / own_size)),
        class_names=tuple(facts["class_names"]),
        source=str(workdir),
        dataset=config.dataset,
        views=config.eval_views,
        batch_size=config.eval_batch_size or config.batch_size,
        run=config,
    )


def trained_from_weights(
    name: str, source: str | Path | None = None, num_classes: int = 0, weights_key: str = ""
) -> Trained:
    """Load a network with a set of weights, and the preprocessing that these weights need.

    Where it is not known, it is torchvision's for the same network, or for a CIFAR network CIFAR-10's mean and standard
    deviation.

    Args:
        name: the network.
        source: as in `load_pretrained`.
        num_classes: K of the weights' head; 0 is as the file says, or else the network's own.
        weights_key: as in `load_pretrained`.

    Raises:
        InputError: as `load_pretrained`; a head of another width is one too.
    """
    weights = open_weights(name, source, weights_key)
    for line in weights.lines:
        print(line, file=sys.stderr)
    return trained_of(weights, num_classes)


def trained_of(weights: WeightSet, num_classes: int = 0) -> Trained:
    """Return the network of an opened set of weights; arguments and errors as in `trained_from_weights`."""
    name = weights.model
    known = known_weights(weights.source)
    cifar = name.endswith("_cifar")
    width = num_classes or len(weights.class_names or ()) or None
    dataset = known.dataset if known else "cifar10" if cifar else "imagenet2012"
    names = wnids() if dataset == "imagenet2012" else PUBLISHED[dataset].class_names
    usual_names = names if width in (None, len(names)) and (known or not cifar) else None
    return Trained(
        name=name,
        model=create_model(name, num_classes=width, **weights.options),
        variables=exact_variables(weights, width),
        preprocessing=weights.preprocessing,
        class_names=weights.class_names or usual_names,
        source=weights.source,
        dataset=dataset,
    )


def check_classes(name: str, class_names: Sequence[str], trained: Trained) -> None:
    """Refuse a set whose labels do not mean what the network's outputs mean.

    Raises:
        InputError: it has another number of classes, or, where the network's have names, other names.
    """
    if len(class_names) != trained.num_classes:
        raise InputError(f"--dataset={name} has {len(class_names)} classes, the network {trained.num_classes}")
    for ours, theirs in zip(trained.class_names or class_names, class_names, strict=True):
        if ours != theirs:
            raise InputError(f"--dataset={name} has a class {theirs!r} where the network has {ours!r}")
