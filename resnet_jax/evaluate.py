"""Exact evaluation of a finished or running training."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax

from resnet_jax.data.sources import load_source
from resnet_jax.errors import InputError
from resnet_jax.inputs import eval_feed
from resnet_jax.restore import restore_run
from resnet_jax.training import loop, step
from resnet_jax.training.state import data_mesh, replicated
from resnet_jax.workdir import read_run_config


def evaluate_run(
    workdir: str | Path,
    *,
    dataset: str = "",
    data_dir: str = "",
    split: Literal["train", "val"] = "val",
    which: str | int = "newest",
    batch_size: int = 0,
    num_workers: int = -1,
) -> dict[str, Any]:
    """Loss (nats), top-1 and top-5 (fractions) of a run over every image of a set, each counted once.

    Args:
        workdir: a run's folder.
        dataset: any that training takes; empty is the run's own.
        data_dir: where the data are; empty is where they were in training.
        split: "val" or "train".
        which: the checkpoint, as in `restore_run`.
        batch_size: 0 is the run's own; the result does not depend on it.
        num_workers: as in `Config`.

    Raises:
        InputError: the run or the data cannot be read, or the set has other classes than the network.
    """
    config, model, variables = restore_run(workdir, which)
    _, facts = read_run_config(Path(workdir).absolute())
    # The images are normalised as in training, whatever set they come from: only the source changes.
    name, folder = dataset or config.dataset, data_dir or ("" if dataset else config.data_dir)
    source = load_source(name, split, folder or None, facts["image_size"])
    if len(source.class_names) != len(facts["class_names"]):
        raise InputError(
            f"--dataset={name} has {len(source.class_names)} classes, the network {len(facts['class_names'])}"
        )
    if different := [(a, b) for a, b in zip(source.class_names, facts["class_names"], strict=True) if a != b]:
        theirs, ours = different[0]
        raise InputError(f"--dataset={name} has a class {theirs!r} where the network has {ours!r}")
    mesh = data_mesh()
    config = dataclasses.replace(config, eval_batch_size=batch_size or config.eval_batch_size, num_workers=num_workers)
    feed = eval_feed(source, config, facts["image_size"], mesh)

    @partial(jax.jit, out_shardings=replicated(mesh))
    def eval_step(variables: Any, batch: loop.Batch) -> step.Sums:
        return step.eval_step(variables, feed.prepare(batch), model=model)

    return step.averages(loop.evaluate(feed.batches(), partial(eval_step, variables)))
