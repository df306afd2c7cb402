"""A run's log for its readers: rows that changed since they were logged are named and left out, and never drawn."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resnet_jax.workdir import checkpoint
from resnet_jax.workdir.folder import read_result
from resnet_jax.workdir.metrics_log import Row, parsed_lines, row_sum

NO_STEP = -1


def verified_rows(workdir: Path, report: Callable[[str], None]) -> list[Row]:
    """Return the rows of a run's log, as its newest checkpoint and its result know them.

    Rows behind that checkpoint are taken as they are, and so are all where no checkpoint is left.

    Args:
        workdir: the folder of the run, finished or not.
        report: receives a line when rows are lost or changed.

    Raises:
        InputError: result.json is cut off or altered.
    """
    path, result = workdir / "metrics.jsonl", read_result(workdir)
    step, sums = _newest_record(workdir.absolute())
    lines, unseen = parsed_lines(path), Counter(sums)
    rows, wrong = [], []
    for number, row in enumerate(lines, 1):
        if row is not None and unseen[row_sum(row)]:
            unseen[row_sum(row)] -= 1
            rows.append(row)
        elif row is not None and _may_be_unrecorded(row, step, result):
            rows.append(row)
        elif row is not None or number < len(lines) or result:  # a training may just write the last one
            wrong.append(number)
    if count := max(len(wrong), unseen.total()):
        where = f", the first in line {wrong[0]}" if wrong else ""
        report(f"warning: {path}: {count} rows are lost or changed{where}; they are left out")
    return rows


def recorded_sums(manager: Any, step: int) -> list[int] | None:
    """Return `row_sum` of every row that was logged before checkpoint `step`; None where that is not known."""
    try:
        return checkpoint.stored_record(manager, step).get("log")
    except Exception:  # a damaged or deleted checkpoint proves nothing of the log
        return None


def _newest_record(workdir: Path) -> tuple[int, list[int]]:
    if not (workdir / "checkpoints").is_dir():
        return NO_STEP, []
    with checkpoint.open_reader(workdir / "checkpoints") as manager:
        step = max(manager.all_steps(), default=NO_STEP)
        sums = recorded_sums(manager, step)
    return (NO_STEP, []) if sums is None else (step, sums)


def _may_be_unrecorded(row: Row, step: int, result: dict[str, Any] | None) -> bool:
    """Return whether a row can have been logged after checkpoint `step` began to be written."""
    if result is not None and "step" in result:
        is_last = (row["step"], row["split"]) == (result["step"], "eval")
        if is_last or step >= result["step"]:
            return all(result.get(name) == value for name, value in row.items())
    return row["step"] > step or (row["step"] == step and row["split"] == "eval")
