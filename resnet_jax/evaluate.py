"""Exact evaluation of a trained network."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import jax

from resnet_jax.build import build_apply
from resnet_jax.data.sources import load_source
from resnet_jax.errors import InputError
from resnet_jax.inputs import eval_feed
from resnet_jax.trained import Trained
from resnet_jax.training import loop, step
from resnet_jax.training.state import data_mesh, replicated


def evaluate(
    trained: Trained,
    *,
    dataset: str = "",
    data_dir: str = "",
    split: Literal["train", "val"] = "val",
    batch_size: int = 0,
    num_workers: int = -1,
) -> dict[str, Any]:
    """Loss (nats), top-1 and top-5 (fractions) of a network over every image of a set, each counted once.

    Args:
        trained: the network.
        dataset: any that training takes; empty is the one it was trained on.
        data_dir: where the data are; empty is where they were in training.
        split: "val" or "train".
        batch_size: 0 is the run's own; the result does not depend on it.
        num_workers: as in `Config`.

    Raises:
        InputError: the data cannot be read, or the set has other classes than the network.
    """
    config, variables = trained.config, trained.variables
    # The images are normalised as in training, whatever set they come from: only the source changes.
    name, folder = dataset or config.dataset, data_dir or ("" if dataset else config.data_dir)
    source = load_source(name, split, folder or None, trained.image_size)
    check_classes(name, source.class_names, trained)
    mesh = data_mesh()
    config = dataclasses.replace(config, eval_batch_size=batch_size or config.eval_batch_size, num_workers=num_workers)
    feed = eval_feed(source, config, trained.image_size, mesh)
    variables = jax.device_put(variables, replicated(mesh))

    apply = build_apply(trained.model, config.eval_views)
    eval_step = step.jit_eval_step(apply, feed.prepare, replicated(mesh))
    return step.averages(loop.evaluate(feed.batches(), partial(eval_step, variables)))


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
