"""Training and test error of a run, from the rows of its metrics.jsonl."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Row = Mapping[str, Any]
POINTS = 100  # of a training curve, at most: single log intervals are too noisy to tell networks apart


@dataclass(frozen=True)
class ErrorCurve:
    """One run's curves; errors in percent.

    Attributes:
        label: the network, as the legend names it; runs of one network share it.
        depth: its layers; runs of one depth share a color.
        finished: the run is finished.
        train_steps: [N], the middle of the interval that each training error is averaged over.
        train_error: [N], measured on the augmented batches while training.
        test_steps: [M].
        test_error: [M], over the whole test set.
    """

    label: str
    depth: int
    finished: bool
    train_steps: np.ndarray
    train_error: np.ndarray
    test_steps: np.ndarray
    test_error: np.ndarray


def error_curve(rows: Sequence[Row], label: str, depth: int, finished: bool) -> ErrorCurve:
    """Return the curves of the rows of a metrics.jsonl, of a finished or an unfinished run."""
    train, test = split(rows, "train"), split(rows, "eval")
    size = max(1, -(-len(train) // POINTS))
    starts = [0, *(row["step"] for row in train)]  # the rows of training close intervals, the first begins at step 0
    chunks = [train[at : at + size] for at in range(0, len(train), size)]
    middles = [(starts[at] + starts[min(at + size, len(train))]) / 2 for at in range(0, len(train), size)]
    return ErrorCurve(
        label=label,
        depth=depth,
        finished=finished,
        train_steps=np.array(middles),
        train_error=np.array([mean_error(chunk) for chunk in chunks]),
        test_steps=np.array([row["step"] for row in test]),
        test_error=np.array([100 * (1 - row["top1"]) for row in test]),
    )


def last_training_error(rows: Sequence[Row]) -> float | None:
    """Return the training error in percent over the batches of the last epoch; None where nothing is logged."""
    train = split(rows, "train")
    return mean_error([row for row in train if row["epoch"] > train[-1]["epoch"] - 1]) if train else None


def mean_error(rows: Sequence[Row]) -> float:
    """Return the error in percent over all examples of some rows."""
    weights = [row["num_examples"] for row in rows]
    return float(100 * (1 - np.average([row["top1"] for row in rows], weights=weights)))


def split(rows: Sequence[Row], name: str) -> list[Row]:
    """Return the rows of "train" or "eval"."""
    return [row for row in rows if row["split"] == name]
