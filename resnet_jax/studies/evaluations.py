"""Evaluations of trained weights, from the JSON that `experiments.evaluate --json` prints, beside what is published."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from resnet_jax.analysis.markdown_table import markdown_table
from resnet_jax.errors import InputError
from resnet_jax.evaluation.intervals import proportion

COLUMNS = ("evaluation", "published error %", "ours %", "95 % interval", "images", "status", "source")
ROUNDING = 0.005  # published errors have two decimals


@dataclass(frozen=True)
class Evaluation:
    """One evaluation.

    Attributes:
        command: that prints the JSON.
        file: in which it is kept, relative to a folder of results.
        error: published top-1 error in percent; None where nothing comparable is published.
        source: where it is published, and whose weights they are.
    """

    command: str
    file: str
    error: float | None
    source: str


def evaluation_table(evaluations: Sequence[Evaluation], folders: Sequence[Path]) -> str:
    """Return the Markdown table of some evaluations from the files in these folders.

    Raises:
        InputError: a file is not what `experiments.evaluate --json` prints.
    """
    return markdown_table(COLUMNS, [evaluation_row(evaluation, folders) for evaluation in evaluations])


def evaluation_row(evaluation: Evaluation, folders: Sequence[Path]) -> tuple[str, ...]:
    """Return the row of one evaluation, from the first folder that has its file; raises as `evaluation_table`."""
    published = "-" if evaluation.error is None else f"{evaluation.error:.2f}"
    path = next((path for folder in folders if (path := folder / evaluation.file).exists()), None)
    if path is None:
        return (f"`{evaluation.command}`", published, "-", "-", "-", "not run", evaluation.source)
    try:
        scores = json.loads(path.read_text())
        top1, count = float(scores["top1"]), int(scores["num_examples"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not what experiments.evaluate --json prints: {error!r}") from error
    ours, interval = 100 * (1 - top1), proportion(round(top1 * count), count)
    status = "measured"
    if evaluation.error is not None:
        status = "reproduced" if abs(ours - evaluation.error) <= ROUNDING else "missed"
    ends = f"{100 * (1 - interval.high):.2f} to {100 * (1 - interval.low):.2f}"
    return (f"`{evaluation.command}`", published, f"{ours:.2f}", ends, f"{count:,}", status, evaluation.source)
