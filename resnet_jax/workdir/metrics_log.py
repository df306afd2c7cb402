"""A run's log, `metrics.jsonl`: rows survive crashes and full disks, and changed ones are noticed."""

import json
import os
import shutil
import zlib
from collections import Counter
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from resnet_jax.errors import InputError
from resnet_jax.files.atomic import write_atomically

Row = dict[str, Any]

# Metrics by which evaluations are ranked; the first one that a row has counts.
SCORES = {"ema_top1": "top-1", "top1": "top-1", "ema_miou": "mean IoU", "miou": "mean IoU"}


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a metrics file, without lines that are not rows, such as a last one that a crash cut off."""
    return [row for row in parsed_lines(path) if row is not None]


def parsed_lines(path: Path) -> list[Row | None]:
    """Return what each line of a metrics file holds: a row, or None; [] where there is no file."""
    if not path.exists():
        return []
    return [_parsed(line) for line in path.read_bytes().decode(errors="replace").splitlines()]


def _parsed(line: str) -> Row | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict) or type(row.get("step")) is not int or row.get("split") not in ("train", "eval"):
        return None
    measured = {name: value for name, value in row.items() if name != "split"}
    whole = "loss" in row and ("top1" in row or "miou" in row)
    return row if whole and all(type(value) in (int, float) for value in measured.values()) else None


def row_sum(row: Row) -> int:
    """Return the CRC-32 of a row, which every single flipped bit changes."""
    return zlib.crc32(json.dumps(row).encode())


def truncate_rows(
    path: Path, step: int, sums: Sequence[int] | None = None, report: Callable[[str], None] = print
) -> list[Row]:
    """Drop the rows behind `step`, which a run that continues from there will write again.

    Args:
        path: of the metrics file.
        step: steps done.
        sums: `row_sum` of the rows that were logged when this step's checkpoint was saved. Others are dropped too. None
            where no sums are known.
        report: receives a line when rows are lost or changed; the file is then kept under another name.

    Returns:
        The rows that stay.
    """
    lines = parsed_lines(path)
    expected = Counter(sums or ())
    kept: list[Row] = []
    wrong: list[int] = []  # lines, from 1
    for number, row in enumerate(lines, 1):
        if row is None:
            wrong.append(number)
        elif row["step"] <= step:
            if sums is None or expected[row_sum(row)]:
                expected[row_sum(row)] -= 1
                kept.append(row)
            else:
                wrong.append(number)
    missing = len(sums) - len(kept) if sums is not None else len([n for n in wrong if n < len(lines)])
    if missing:
        where = f", the first in line {wrong[0]}" if wrong else ""
        aside = ""
        if lines:
            shutil.copyfile(path, path.with_name(f"{path.name}.damaged"))
            aside = f"; they are left out, and the file is kept as {path.name}.damaged"
        report(f"warning: {path}: {missing} rows up to step {step} are lost or changed{where}{aside}")
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in kept))
    return kept


def append_row(path: Path, row: Row) -> None:
    """Add one line, in one write, so that a crash cuts off at most this line.

    Raises:
        OSError: it cannot be written; the file is then as it was.
    """
    size = path.stat().st_size if path.exists() else 0
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    except OSError:
        with suppress(OSError):
            os.truncate(path, size)
        raise


def score(row: Row) -> float:
    """Return by what an evaluation is better than another: top-1 or mean IoU, of the average where one was kept."""
    return row[_score_name(row)]


def score_text(row: Row) -> str:
    """Return the score of a row of the log as text, "top-1 0.9346"."""
    name = _score_name(row)
    return f"{SCORES[name]} {row[name]:.4f}"


def _score_name(row: Row) -> str:
    return next(name for name in SCORES if name in row)


def best_step(path: Path, steps: Sequence[int]) -> int | None:
    """Return, of the given steps, the first with the highest `score`; None where none was evaluated."""
    scores = {row["step"]: score(row) for row in read_rows(path) if row["split"] == "eval"}
    return max((s for s in sorted(steps) if s in scores), key=lambda s: scores[s], default=None)


def check_rows(path: Path, sums: Sequence[int]) -> None:
    """Refuse a log that lacks a row that it had when a checkpoint was saved.

    Raises:
        InputError: a row is lost or changed.
    """
    if missing := (Counter(sums) - Counter(map(row_sum, read_rows(path)))).total():
        raise InputError(f"{path}: {missing} rows are lost or changed; restore it from a backup, or name a step")


class MetricsLog:
    """The log of a run, which keeps the rows that could not be written and writes them later.

    Attributes:
        sums: `row_sum` of every row so far.
        unwritten: rows that are not in the file yet.
    """

    def __init__(
        self,
        path: Path | None,
        rows: Sequence[Row] = (),
        trackers: Sequence[Callable[[Row], None]] = (),
        tracked: Container[tuple[int, str]] = (),
        report: Callable[[str], None] = print,
    ):
        """Continue a log.

        Args:
            path: of the file; None writes nowhere, in processes beside the first.
            rows: what it holds.
            trackers: functions that receive every new row too.
            tracked: (step, split) of rows that they received before, and do not receive again.
            report: receives a line when something cannot be written.
        """
        self.path, self.report = path, report
        self.trackers, self.tracked = list(trackers), tracked
        self.sums = [row_sum(row) for row in rows]
        self.unwritten: list[Row] = []

    def add(self, row: Row) -> None:
        """Add a row, after those that are still to be written."""
        self.sums.append(row_sum(row))
        if self.path is None:
            return
        held_back = bool(self.unwritten)
        self.unwritten.append(row)
        problem = self.flush()
        if problem and not held_back:
            self.report(f"warning: {self.path} cannot be written ({problem}); its rows are kept and written later")
        for track in list(self.trackers) if (row["step"], row["split"]) not in self.tracked else ():
            try:
                track(row)
            except Exception as error:  # a tracker's server or disk never decides over a training
                self.trackers.remove(track)
                self.report(f"warning: a tracker failed ({error or type(error).__name__}) and receives no more rows")

    def flush(self) -> str:
        """Write what is still to be written; return "", or why it cannot be."""
        try:
            while self.path is not None and self.unwritten:
                append_row(self.path, self.unwritten[0])
                self.unwritten.pop(0)
        except OSError as error:
            return str(error.strerror)
        return ""
