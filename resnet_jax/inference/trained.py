"""Trained networks, ready for inference: from a run's folder, or from a set of weights."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from flax import linen as nn

from resnet_jax.data.build import build_preprocessing
from resnet_jax.data.preprocessing import Preprocessing, check_crop
from resnet_jax.data.sources.cifar import PUBLISHED
from resnet_jax.data.sources.imagenet_classes import wnids
from resnet_jax.errors import InputError
from resnet_jax.inference.restore import restore
from resnet_jax.models.registry import classifies_pixels, create_model
from resnet_jax.weights.catalog import known_weights
from resnet_jax.weights.image_config import Interpolation, completed, is_guess
from resnet_jax.weights.pretrained import WeightSet, exact_variables, open_weights
from resnet_jax.workdir.folder import is_run


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
        dataset: the set that it was trained on; "" where it is not known.
        views: a key of `tta.VIEWS`, over which its own evaluation averages.
        batch_size: images at once in its own evaluation.
        run: config of the run that trained it; None for other weights.
        facts: what else the run's config.json has; of other weights, what their file says of masks.
        step: of the run's checkpoint.
        assumed: nothing tells the preprocessing, and it is the usual one.
        as_evaluated: the run's last evaluation is of these weights, at this size.
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
    facts: Mapping[str, Any] = field(default_factory=dict)
    step: int = 0
    as_evaluated: bool = False
    assumed: bool = False

    @property
    def num_classes(self) -> int:
        """Number of classes, K."""
        return cast(Any, self.model).num_classes

    def images_at_once(self, batch_size: int) -> int:
        """Return the images at once in an evaluation: `batch_size`, or for 0 its own.

        Raises:
            InputError: it is negative.
        """
        if batch_size < 0:
            raise InputError(f"--batch_size={batch_size} must be at least 1, or 0 for the run's own")
        return batch_size or self.batch_size

    @property
    def classifies_pixels(self) -> bool:
        """True of a network whose logits are those of pixels."""
        return classifies_pixels(self.name)

    def class_name(self, k: int) -> str:
        """Return the name of class k."""
        return self.class_names[k] if self.class_names else f"class {k}"


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
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    interpolation: Interpolation = "",
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
        mean: of R, G, B in [0, 1], of weights whose own is not known; so are the next two.
        std: of R, G, B in [0, 1].
        interpolation: of the resizing.

    Raises:
        InputError: the arguments name none or two, or contradict it, or it cannot be read.
    """
    for option, value in (("image_size", image_size), ("resize", resize), ("num_classes", num_classes)):
        if value < 0:
            raise InputError(f"--{option}={value} must be at least 1, or 0 for the network's own")
    if bool(workdir) == bool(model):
        raise InputError("name one: --workdir=RUN, or --model=NAME with --weights=FILE_OR_HUB_ID")
    if ema and not workdir:
        raise InputError("--ema is of a run: only runs keep an average")
    if workdir and weights:
        raise InputError("--weights goes with --model=NAME, not with --workdir")
    if weights and is_run(weights):
        raise InputError(f"--weights={weights} is the folder of a run: name it as --workdir={weights}, without --model")
    if workdir and weights_key:
        raise InputError(f"--weights_key={weights_key} is of a file of weights; the average of a run is --ema")
    if workdir and num_classes:
        raise InputError(f"--num_classes={num_classes} is of a file of weights: a run knows its classes; leave it out")
    if model and checkpoint != "newest":
        raise InputError(f"--checkpoint={checkpoint} is of a run, and --model={model} has one set of weights")
    if workdir and (mean or std or interpolation):
        raise InputError("--mean, --std and --interpolation go with --model=NAME: a run has those of its training")
    if workdir:
        trained = trained_from_run(workdir, checkpoint, image_size, resize, ema=ema)
    else:
        trained = trained_from_weights(
            model, weights or None, num_classes, weights_key, mean=mean, std=std, interpolation=interpolation
        )
        size = image_size or trained.preprocessing.image_size
        trained = replace(trained, preprocessing=trained.preprocessing.at_size(size, resize))
    if (resize or image_size) and not trained.classifies_pixels:
        check_crop(trained.preprocessing, "resize")
    return trained


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
    found = restore(workdir, which, ema=ema)
    config, facts = found.config, found.facts
    own_size = facts["image_size"]
    size = image_size or own_size
    return Trained(
        name=config.model,
        model=found.model,
        variables=found.variables,
        preprocessing=build_preprocessing(config, size, resize or round(config.eval_resize * size / own_size)),
        class_names=tuple(facts["class_names"]),
        source=str(workdir),
        dataset=config.dataset,
        views=config.eval_views,
        batch_size=config.eval_batch_size or config.batch_size,
        run=config,
        facts=facts,
        step=found.step,
        as_evaluated=which == "newest" and not ema and size == own_size and not resize,
    )


def takes_average(weights_key: str) -> bool:
    """Return whether a training's --weights_key means the average of a run's weights, or, empty, the weights.

    Raises:
        InputError: it is anything else.
    """
    if weights_key not in ("", "ema"):
        raise InputError(f"--weights_key={weights_key}: of a run there is ema, the average of its weights; or none")
    return weights_key == "ema"


def trained_from_weights(
    name: str,
    source: str | Path | None = None,
    num_classes: int = 0,
    weights_key: str = "",
    *,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    interpolation: Interpolation = "",
) -> Trained:
    """Load a network with a set of weights, and the preprocessing that these weights need.

    Where it is not known, it is what the arguments say; the rest is torchvision's for the same network, or for a CIFAR
    network CIFAR-10's mean and standard deviation.

    Args:
        name: the network.
        source: as in `load_pretrained`.
        num_classes: K of the weights' head; 0 is as the file says, or else the network's own.
        weights_key: as in `load_pretrained`.
        mean: as in `load_trained`.
        std: as in `load_trained`.
        interpolation: as in `load_trained`.

    Raises:
        InputError: as `load_pretrained`; a head of another width is one too, and so is another preprocessing than the
            known one.
    """
    weights = open_weights(name, source, weights_key)
    preprocessing, origin = completed(weights.preprocessing, weights.preprocessing_from, mean, std, interpolation)
    weights = replace(weights, preprocessing=preprocessing, preprocessing_from=origin)
    for line in weights.lines:
        print(line, file=sys.stderr)
    return trained_of(weights, num_classes)


def trained_of(weights: WeightSet, num_classes: int = 0) -> Trained:
    """Return the network of an opened set of weights; arguments and errors as in `trained_from_weights`."""
    name = weights.model
    known = known_weights(weights.source)
    width = num_classes or len(weights.class_names or ()) or None
    model: Any = create_model(name, num_classes=width, **weights.options)
    dataset = known.dataset if known else usual_dataset(name)
    names = wnids() if dataset == "imagenet2012" else PUBLISHED[dataset].class_names if dataset else ()
    # Ten classes of a CIFAR network may be any; a thousand of another are ImageNet's.
    usual = known is not None or dataset == "imagenet2012"
    known_names = names if usual and len(names) == model.num_classes else None
    return Trained(
        name=name,
        model=model,
        variables=exact_variables(weights, width),
        preprocessing=weights.preprocessing,
        class_names=weights.class_names or known_names,
        source=weights.source,
        dataset=dataset,
        facts=weights.masks or {},
        assumed=is_guess(weights.preprocessing_from),
    )


def usual_dataset(name: str) -> str:
    """Return the set that weights of a network were most likely trained on; "" of pixels, which have no such set."""
    if classifies_pixels(name):
        return ""
    return "cifar10" if name.endswith("_cifar") else "imagenet2012"


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
