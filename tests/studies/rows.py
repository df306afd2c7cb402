"""Run folders written by hand."""

import dataclasses
import json
from pathlib import Path

from resnet_jax.studies.final_training_error import FILE


def train_row(step, error, *, per_epoch=100, count=100):
    """A line of training: error in percent over `count` examples."""
    return {
        "step": step,
        "epoch": step / per_epoch,
        "split": "train",
        "loss": 1.0,
        "top1": 1 - error / 100,
        "num_examples": count,
    }


def eval_row(step, error, *, per_epoch=100):
    return train_row(step, error, per_epoch=per_epoch, count=1000) | {"split": "eval"}


def write_run(config, rows=(), *, error=None, more=None, training_error=None):
    """The folder of a run; one with an error in percent is finished. Returns it."""

    folder = Path(config.workdir)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"config": dataclasses.asdict(config)}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if error is not None:
        (folder / "result.json").write_text(json.dumps({"top1": 1 - error / 100, **(more or {})}))
    if training_error is not None:
        (folder / FILE).write_text(json.dumps({"top1": 1 - training_error / 100}))
    return folder
