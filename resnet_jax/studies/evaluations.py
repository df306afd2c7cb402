"""Evaluations of trained weights, from the JSON that `experiments.evaluate --json` prints, beside what is published."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from resnet_jax.errors import InputError
from resnet_jax.evaluation.intervals import proportion
from resnet_jax.files.markdown_table import markdown_table

COLUMNS = ("evaluation", "published error %", "ours %", "95 % interval", "images", "status", "source")
ROUNDING = 0.005  # published errors have two decimals
LEGEND = """reproduced: equal to the published error in both decimals. missed: it is not. measured: none is published.
not run: the file is not in the folders of --runs. The interval is Wilson's, of the images."""


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


def read_scores(path: Path) -> dict[str, float]:
    """Read the JSON that `experiments.evaluate --json` prints.

    Raises:
        InputError: the file is another one.
    """
    try:
        scores = {name: float(value) for name, value in json.loads(path.read_text("utf-8")).items()}
        return scores | {name: scores[name] for name in ("top1", "num_examples")}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not what experiments.evaluate --json prints ({error!r}); delete it, and write it again"
        ) from error


def evaluation_table(evaluations: Sequence[Evaluation], folders: Sequence[Path]) -> str:
    """Return the Markdown table of some evaluations from the files in these folders.

    Raises:
        InputError: a file is not what `experiments.evaluate --json` prints.
    """
    rows = [evaluation_row(evaluation, folders) for evaluation in evaluations]
    return f"{markdown_table(COLUMNS, rows)}\n{LEGEND}"


def evaluation_row(evaluation: Evaluation, folders: Sequence[Path]) -> tuple[str, ...]:
    """Return the row of one evaluation, from the first folder that has its file; raises as `evaluation_table`."""
    published = "-" if evaluation.error is None else f"{evaluation.error:.2f}"
    path = next((path for folder in folders if (path := folder / evaluation.file).exists()), None)
    command = f"`{evaluation.command} > {evaluation.file}`"
    if path is None:
        return (command, published, "-", "-", "-", "not run", evaluation.source)
    scores = read_scores(path)
    top1, count = scores["top1"], round(scores["num_examples"])
    ours, interval = 100 * (1 - top1), proportion(round(top1 * count), count)
    status = "measured"
    if evaluation.error is not None:
        status = "reproduced" if abs(ours - evaluation.error) <= ROUNDING else "missed"
    ends = f"{100 * (1 - interval.high):.2f} to {100 * (1 - interval.low):.2f}"
    return (command, published, f"{ours:.2f}", ends, f"{count:,}", status, evaluation.source)
