"""Where a run's numbers go: `metrics.jsonl`, the console, and TensorBoard or Weights & Biases when asked for."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from resnet_jax.errors import InputError
from resnet_jax.files.atomic import write_atomically

Row = dict[str, Any]

# Fields of a row that are times, not numbers of the training: an equal run has others there.
TIMES = ("waiting",)


def read_rows(path: Path) -> list[Row]:
    """The rows of a metrics file; a last line that was cut off by a crash is left out, as is a missing file."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def truncate_rows(path: Path, step: int) -> list[Row]:
    """Drop the rows behind `step`, which a run that continues from there will write again; returns what stays."""
    rows = [row for row in read_rows(path) if row["step"] <= step]
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows))
    return rows


def append_row(path: Path, row: Row) -> None:
    """Add one line, in one write, so that a crash cuts off at most this line."""
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def best_step(path: Path, steps: Sequence[int]) -> int | None:
    """Of the given steps, the first one with the highest evaluated top-1; None where none was evaluated.

    Where an average of the weights was kept, its top-1 counts.
    """
    scores = {row["step"]: row.get("ema_top1", row["top1"]) for row in read_rows(path) if row["split"] == "eval"}
    return max((s for s in sorted(steps) if s in scores), key=lambda s: scores[s], default=None)


def open_log(workdir: Path, options: Row, start: int) -> Callable[[Row], None]:
    """Open the log of a run that continues after step `start`, and its trackers.

    Args:
        workdir: the run's folder; rows of its metrics.jsonl behind `start` are dropped.
        options: of the run; "tensorboard" and "wandb" are the trackers that were asked for.
        start: steps done.

    Returns:
        A function that adds a row.

    Raises:
        InputError: the package of a tracker is not installed.
    """
    path = workdir / "metrics.jsonl"
    trackers = open_trackers(workdir, options, tensorboard=options["tensorboard"], wandb=options["wandb"])
    truncate_rows(path, start)

    def record(row: Row) -> None:
        append_row(path, row)
        for track in trackers:
            track(row)

    return record


def open_trackers(workdir: Path, options: Row, *, tensorboard: bool, wandb: bool) -> list[Callable[[Row], None]]:
    """The asked-for trackers, each a function that takes a row; `options` are the run's, for Weights & Biases.

    Raises:
        InputError: the package of an asked-for tracker is not installed.
    """
    trackers: list[Callable[[Row], None]] = []
    if tensorboard:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise InputError("--tensorboard needs tensorboardX: pip install 'residual-jax[tensorboard]'") from error
        writer = SummaryWriter(str(workdir / "tensorboard"))

        def to_tensorboard(row: Row) -> None:
            for name, value in scalars(row):
                writer.add_scalar(f"{row['split']}/{name}", value, row["step"])
            writer.flush()

        trackers.append(to_tensorboard)
    if wandb:
        try:
            import wandb as weights_and_biases
        except ImportError as error:
            raise InputError("--wandb needs wandb: pip install 'residual-jax[wandb]'") from error
        # One id a folder: a run that continues is the same run there.
        run = weights_and_biases.init(
            project="resnet_jax", name=workdir.name, id=workdir.name, config=options, resume="allow"
        )
        trackers.append(lambda row: run.log({f"{row['split']}/{k}": v for k, v in scalars(row)}, step=row["step"]))
    return trackers


def scalars(row: Row) -> Iterable[tuple[str, float]]:
    """The measured values of a row: all but where it stands."""
    return ((name, value) for name, value in row.items() if name not in ("step", "split"))
