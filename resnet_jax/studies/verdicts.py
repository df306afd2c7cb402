"""Verdicts on published results from the runs in some folders: reproduced, within tolerance, missed, or not run."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from resnet_jax.config.options import Config, differences
from resnet_jax.errors import InputError
from resnet_jax.files.markdown_table import markdown_table, mean_cell
from resnet_jax.studies.claim import Claim
from resnet_jax.studies.evaluations import read_scores
from resnet_jax.workdir.folder import read_result, read_run_config

# Options in which a run may differ from a claim's: what is logged and when, and how the same numbers are computed.
NEUTRAL = ("seed", "log_every", "eval_every", "checkpoint_every", "eval_batch_size", "scan", "remat", "steps_per_call")
OVER = {"mean": mean, "median": median}
SIGNS = {"at most": "<= ", "about": "", "at least": "> "}
COLUMNS = ("training", "published error %", "tolerance", "seeds", "ours %", "status", "hours", "source")
LEGEND = """reproduced: as many seeds as are asked for, and their mean (or median, as in the paper) is within tolerance
of the published error; "<=": or below it. within tolerance: the same with fewer seeds so far. missed: it is not.
measured: there is no published one. not run: no finished run with these settings. Errors are top-1, of the last
checkpoint, on the test images, with the standard deviation over several seeds; hours are those of a run's training
steps."""


@dataclass(frozen=True)
class FoundRun:
    """A run's folder, its config, and what config.json says beside it."""

    workdir: Path
    config: Config
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """The verdict of the runs on a claim.

    Attributes:
        status: "reproduced", "within tolerance", "missed", "measured" or "not run".
        errors: of every seed that counts, in percent.
        hours: that the training steps of each of these runs took, where they were timed.
        note: what is missing, or "".
    """

    status: str
    errors: tuple[float, ...]
    hours: tuple[float, ...] = ()
    note: str = ""


def find_runs(folders: Iterable[Path]) -> tuple[list[FoundRun], list[str]]:
    """Find every run below some folders, and return a line for each config.json that is damaged or not a run's.

    Raises:
        InputError: a folder does not exist.
    """
    runs, problems = [], []
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"--runs={folder}: there is no such folder; name those that hold your runs")
        for path in sorted(folder.rglob("config.json")):
            try:
                runs.append(FoundRun(path.parent, *read_run_config(path.parent)))
            except InputError as error:
                problems.append(f"{path} is left out: {error}")
    return runs, problems


def matches(claim: Claim, run: FoundRun) -> bool:
    """Return whether a run is a claim's training: all options agree that decide its numbers, the seed aside."""
    neutral = {name: getattr(claim.config, name) for name in NEUTRAL}
    same_images = all(run.facts.get(name) == value for name, value in claim.data.items())
    return same_images and not differences(dataclasses.replace(run.config, **neutral), claim.config)


def verdict_of(claim: Claim, runs: Sequence[FoundRun]) -> Verdict:
    """Compare a claim with the finished runs of its training; of several with one seed the last by name counts."""
    measured: dict[int, tuple[float, float | None]] = {}  # error and hours, by seed
    notes = []
    for run in runs:
        if not matches(claim, run):
            continue
        result = read_result(run.workdir)
        if result is None:
            notes.append(f"{run.workdir} is not finished")
        elif (accuracy := accuracy_of(claim, result, run.workdir)) is not None:
            speed = result.get("images_per_second")
            hours = result["step"] * run.config.batch_size / speed / 3600 if speed else None
            measured[run.config.seed] = 100 * (1 - accuracy), hours
        else:
            file = run.workdir / f"{claim.protocol}.json"
            notes.append(
                f"evaluate it: python -m experiments.evaluate --workdir={run.workdir} --protocol={claim.protocol} "
                f"--json > {file}"
            )
    errors = tuple(error for error, _ in measured.values())
    timed = tuple(hours for _, hours in measured.values() if hours is not None)
    return Verdict(status_of(claim, errors), errors, timed, "; ".join(notes))


def accuracy_of(claim: Claim, result: dict[str, Any], workdir: Path) -> float | None:
    """Return the accuracy of a finished run under the claim's protocol; None where that has not been measured.

    That of the training's own protocol is in its result. Others are read from WORKDIR/PROTOCOL.json, what
    `experiments.evaluate --json` prints.

    Raises:
        InputError: the file is damaged, or another one.
    """
    scores, path = result, workdir / f"{claim.protocol}.json"
    if claim.protocol != "own":
        scores = read_scores(path) if path.exists() else {}
    value = scores.get(claim.metric)
    return None if value is None or not math.isfinite(value) else value


def status_of(claim: Claim, errors: Sequence[float]) -> str:
    """Return the status for the errors of some seeds."""
    if not errors:
        return "not run"
    if claim.error is None:
        return "measured"
    excess = OVER[claim.over](errors) - claim.error
    slack = claim.tolerance + 1e-9  # 8.95 is within 0.2 of 8.75
    too_high = excess > slack and claim.holds != "at least"
    too_low = excess < -slack and claim.holds != "at most"
    if too_high or too_low:
        return "missed"
    return "reproduced" if len(errors) >= claim.seeds else "within tolerance"


def verdict_table(claims: Sequence[Claim], runs: Sequence[FoundRun]) -> str:
    """Return the Markdown table of some claims with the verdicts of the runs."""
    verdicts = [verdict_of(claim, runs) for claim in claims]
    table = markdown_table(COLUMNS, [verdict_row(c, v) for c, v in zip(claims, verdicts, strict=True)])
    notes = [f"- {c.command}: {v.note}" for c, v in zip(claims, verdicts, strict=True) if v.note]
    return "\n".join([table, "", *notes, *([""] if notes else []), LEGEND])


def verdict_row(claim: Claim, verdict: Verdict) -> tuple[str, ...]:
    """Return the row of one claim."""
    plain = ("own", "mean")
    how = "".join(f", {word}" for word in (claim.protocol, claim.over) if word not in plain)
    return (
        f"`{claim.command}`",
        "-" if claim.error is None else f"{SIGNS[claim.holds]}{claim.error:.2f}{how}",
        "-" if claim.error is None else f"{claim.tolerance:g}",
        f"{len(verdict.errors)} of {claim.seeds}",
        mean_cell(verdict.errors, over=OVER[claim.over]),
        verdict.status,
        span(verdict.hours),
        claim.source,
    )


def span(hours: Sequence[float]) -> str:
    """Format the shortest and the longest of some times."""
    return " to ".join(sorted({f"{end:.2f}" for end in (min(hours), max(hours))})) if hours else "-"
