"""The weights that a run starts from, fitted to its classes."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from resnet_jax.config.options import Config
from resnet_jax.errors import InputError
from resnet_jax.inference.trained import Trained, trained_from_run, trained_from_weights
from resnet_jax.models.counts import abstract_variables
from resnet_jax.models.registry import create_model
from resnet_jax.optim.freeze import check_freeze
from resnet_jax.run.build import Run
from resnet_jax.run.cached_features import check_cache
from resnet_jax.weights.checksum import checksum
from resnet_jax.weights.layout import OURS, to_tensors
from resnet_jax.weights.pretrained import open_weights, variables_of
from resnet_jax.weights.shapes import head_paths, initial_leaves, options_of, variable_shapes
from resnet_jax.workdir.folder import has_checkpoints, read_run_to_continue

# Options that the weights answer where they were not given.
OF_WEIGHTS = ("mean", "std", "interpolation", "eval_resize", "eval_crop")


def read_initial(config: Config, workdir: Path) -> Trained | None:
    """Return the network of --init_from; None without it, and for a run in the folder that goes on from a checkpoint.

    It has no head where the file's is of a width that nothing tells.

    Raises:
        InputError: it cannot be read, or is another network.
    """
    if not config.init_from or has_checkpoints(workdir):
        return None
    if _is_run(config.init_from):
        trained = trained_from_run(config.init_from)
        if trained.name != config.model:
            raise InputError(f"--init_from={config.init_from} is a run of {trained.name}, not of {config.model}")
        return trained
    try:
        return trained_from_weights(config.model, config.init_from)
    except InputError:
        weights = open_weights(config.model, config.init_from)
        variables = variables_of(weights, 0)
        model = create_model(config.model, **weights.options)
        return Trained(config.model, model, variables, weights.preprocessing, None, weights.source, "")


def with_preprocessing_of(trained: Trained | None, config: Config, workdir: Path) -> Config:
    """Return the config with the preprocessing of the network that it starts from, where the options leave it open.

    A run that is in the folder has decided already.
    """
    if not config.init_from or config.mean:
        return config
    if run := read_run_to_continue(workdir):
        return dataclasses.replace(config, **{name: getattr(run[0], name) for name in OF_WEIGHTS})
    if trained is None:  # checkpoints without their config.json, which are refused
        return config
    p = trained.preprocessing
    return dataclasses.replace(
        config,
        mean=p.mean,
        std=p.std,
        interpolation=p.interpolation,
        eval_crop=min(1.0, p.image_size / p.resize),
    )


@dataclasses.dataclass(frozen=True)
class Initial:
    """Variables to start from.

    Attributes:
        variables: of the run's network, on the host.
        line: what a user should read about them.
        facts: what config.json says of them.
    """

    variables: Any
    line: str
    facts: dict[str, Any]


def fit_initial(trained: Trained | None, run: Run) -> Initial | None:
    """Return the variables of a network with a head for the classes of the run; None where it starts from nothing.

    A class that the weights know by the same name keeps its part of the head; the others are drawn as a new network's.

    Raises:
        InputError: they do not fit the run's network, or its options do not go with them.
    """
    config = run.config
    if trained is None:
        if config.freeze or config.freeze_statistics or config.cache_features:
            option = f"--freeze={config.freeze}" if config.freeze else "--freeze_statistics or --cache_features"
            raise InputError(f"{option} keeps what a new network does not have yet; start from weights, --init_from=…")
        return None
    classes = run.data.class_names
    old = jax.device_get(trained.variables)
    digest = checksum(to_tensors(old, OURS), {})
    variables, kept = with_head(config, options_of(config.model, run.model), old, trained.class_names, classes)
    _check_shapes(config, variables, run)
    check_freeze(config.freeze, variables["params"])
    check_cache(config, variables["params"])
    head = f"its head keeps {kept} of {len(classes)} classes, by name" if kept else "with a new head"
    frozen = f"; frozen: {config.freeze}" if config.freeze else ""
    statistics = "; normalizations keep their statistics" if config.freeze_statistics else ""
    return Initial(
        variables,
        f"starting from {trained.source}, {head}{frozen}{statistics}",
        {"init": {"source": trained.source, "sha256": digest, "classes_kept": kept}},
    )


def _is_run(source: str) -> bool:
    return (Path(source) / "config.json").is_file() and (Path(source) / "checkpoints").is_dir()


def with_head(
    config: Config, options: Any, variables: Any, names: Sequence[str] | None, classes: Sequence[str]
) -> tuple[Any, int]:
    """Return the variables with a head for `classes`, and how many of them it kept by name.

    Args:
        config: of the run.
        options: of the network.
        variables: with the head of `names`, another one, or none.
        names: of the classes of the variables; None where they are not known.
        classes: K names.
    """
    shapes = variable_shapes(config.model, len(classes), options)
    head = head_paths(config.model, shapes, len(classes), options)
    old: dict[tuple[str, ...], Any] = flatten_dict(variables)
    new = initial_leaves(config.model, head, len(classes), config.seed, options)
    index = {name: number for number, name in enumerate(names or ())}
    pairs = [(k, index[name]) for k, name in enumerate(classes) if name in index]
    for path in head:
        if pairs and path in old and old[path].shape[:-1] == new[path].shape[:-1]:
            leaf = np.array(new[path])
            ours, theirs = (list(numbers) for numbers in zip(*pairs, strict=True))
            leaf[..., ours] = np.asarray(old[path])[..., theirs]
            new[path] = leaf
    return unflatten_dict(old | new), len(pairs)


def _check_shapes(config: Config, variables: Any, run: Run) -> None:
    wanted: dict[tuple[str, ...], Any] = flatten_dict(abstract_variables(run.model, run.data.image_size))
    found: dict[tuple[str, ...], Any] = flatten_dict(variables)
    wrong = [path for path in wanted if path not in found or found[path].shape != wanted[path].shape]
    if wrong or len(found) != len(wanted):
        name = "/".join((wrong or [path for path in found if path not in wanted])[0])
        raise InputError(
            f"--init_from={config.init_from} does not fit {config.model} with these options ({name} differs); "
            "give the options that the weights were trained with"
        )
