"""Table and figure of a degradation study, from the folders of its runs, finished or not."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from resnet_jax.analysis.error_curves import ErrorCurve, error_curve, last_training_error
from resnet_jax.analysis.plots.canvas import Drawing
from resnet_jax.analysis.plots.error_curves import draw_error_curves
from resnet_jax.config.options import Config
from resnet_jax.data.notices import print_notice
from resnet_jax.files.atomic import write_atomically
from resnet_jax.files.markdown_table import markdown_table, mean_cell
from resnet_jax.studies.degradation import kind_and_depth
from resnet_jax.studies.final_training_error import read_training_error
from resnet_jax.studies.published import TABLES
from resnet_jax.workdir.folder import read_result, read_run_config
from resnet_jax.workdir.verified_log import verified_rows

# Test errors in percent. The paper prints none of plain networks; these are read off its figure 6, and its text says of
# 110 layers that the error is higher than 60 %.
PAPER = {c.config.model: f"{c.error:.2f}" for c in TABLES["cifar"]} | {
    "plain20_cifar": "about 9 (figure)",
    "plain32_cifar": "figure only",
    "plain44_cifar": "figure only",
    "plain56_cifar": "about 13 to 14 (figure)",
    "plain110_cifar": "above 60",
}
HEAD = """# Degradation

Read from the runs in this folder by `python -m experiments.degradation --summary`. Training error and test error are
the last checkpoint's, over all training images without augmentation and over the whole test set. What figure 6 of He et
al. 2015 plots is the error on the augmented batches while training, here the mean of the last epoch. Mean and standard
deviation are over the finished seeds.
"""
COLUMNS = (
    *("network", "seeds", "training error %", "while training %", "test error %", "paper's test error %"),
    *("trained", "not finished"),
)


@dataclass(frozen=True)
class StudyRun:
    """One run of the study as its folder shows it.

    Attributes:
        config: its options.
        rows: of its metrics.jsonl.
        result: of its result.json; None while it is not finished.
        training_error: of the final network over the training images, in percent; None where it was not measured.
    """

    config: Config
    rows: list[dict[str, Any]]
    result: dict[str, Any] | None
    training_error: float | None

    @property
    def total_steps(self) -> int:
        """Length of the training; 0 while nothing is logged."""
        if self.config.steps or not self.rows:
            return self.config.steps
        last = self.rows[-1]
        return round(self.config.epochs * last["step"] / last["epoch"])


def read_study(workdir: Path) -> list[StudyRun]:
    """Read the runs in the folder of a study, sorted by kind, depth and seed."""
    folders = [
        p.parent for p in workdir.glob("*/config.json") if re.fullmatch(r"[a-z]+\d+_cifar-seed\d+", p.parent.name)
    ]
    runs = [
        StudyRun(read_run_config(f)[0], verified_rows(f, print_notice), read_result(f), read_training_error(f))
        for f in folders
    ]
    return sorted(runs, key=lambda run: (*kind_and_depth(run.config.model), run.config.seed))


def summarize(workdir: Path, names: Sequence[str]) -> str:
    """Write WORKDIR/table.md and WORKDIR/degradation.png from the existing runs, and return the table's text.

    Args:
        workdir: folder of the study.
        names: networks that have a row even without a run.
    """
    runs = read_study(workdir)
    text = f"{HEAD}\n{study_table(runs, names)}"
    workdir.mkdir(parents=True, exist_ok=True)
    write_atomically(workdir / "table.md", text)
    draw_study(runs, workdir / "degradation.png", names)
    return text


def study_table(runs: Sequence[StudyRun], names: Sequence[str] = ()) -> str:
    """Return a Markdown table of the networks, and the effect of depth below it; `names` have a row in any case."""
    by_name = {name: [run for run in runs if run.config.model == name] for name in names} | {
        run.config.model: [other for other in runs if other.config.model == run.config.model] for run in runs
    }
    table = markdown_table(COLUMNS, [study_row(name, by_name[name]) for name in sorted(by_name, key=kind_and_depth)])
    return "\n".join([table, "", *comparisons(by_name)])


def draw_study(runs: Sequence[StudyRun], path: Path, names: Sequence[str] = ()) -> Drawing:
    """Draw error against iterations, a panel for each kind of network; those of `names` have one in any case."""
    kinds = sorted({kind_and_depth(name)[0] for name in (*names, *(run.config.model for run in runs))})
    panels: dict[str, list[ErrorCurve]] = {kind: [] for kind in kinds}
    for run in runs:
        kind, depth = kind_and_depth(run.config.model)
        if run.rows:
            panels[kind].append(error_curve(run.rows, f"{kind}-{depth}", depth, run.result is not None))
    return draw_error_curves(panels, path, "; ".join(sorted({length(run) for run in runs})))


def study_row(name: str, runs: Sequence[StudyRun]) -> tuple[str, ...]:
    """Return the row of one network."""
    finished = [run for run in runs if run.result is not None]
    open_runs = [
        f"seed {run.config.seed} at {run.rows[-1]['step'] if run.rows else 0:,}" for run in runs if run.result is None
    ]
    return (
        name,
        str(len(finished)),
        measured(finished),
        mean_cell([error for run in finished if (error := last_training_error(run.rows)) is not None]),
        mean_cell([100 * (1 - run.result["top1"]) for run in finished if run.result]),
        paper_error(name, runs),
        "; ".join(sorted({length(run) for run in runs})) or "-",
        "; ".join(open_runs) or ("-" if runs else "not run"),
    )


def measured(finished: Sequence[StudyRun]) -> str:
    """Format the training errors of finished runs, and how many were not measured: of runs of older versions."""
    errors = training_errors(finished)
    lacking = len(finished) - len(errors)
    note = f" ({lacking} not measured: run the command without --summary)" if lacking else ""
    return mean_cell(errors) + note


def paper_error(name: str, runs: Sequence[StudyRun]) -> str:
    """Return the paper's test error of a network, "-" where the runs are on other data or of another width."""
    other = any(run.config.dataset != "cifar10" or run.config.width for run in runs)
    return "-" if other else PAPER.get(name, "-")


def comparisons(by_name: dict[str, list[StudyRun]]) -> list[str]:
    """Return a sentence for each kind of network on the effect of depth on its training error."""
    lines = []
    errors = {
        kind_and_depth(name): mean(values)
        for name, runs in by_name.items()
        if (values := training_errors([run for run in runs if run.result is not None]))
    }
    for kind in sorted({kind for kind, _ in errors}):
        depths = sorted(depth for k, depth in errors if k == kind)
        if len(depths) > 1:
            change = errors[kind, depths[-1]] - errors[kind, depths[0]]
            lines.append(
                f"{kind}: with {depths[-1]} layers the training error is {abs(change):.2f} points "
                f"{'higher' if change > 0 else 'lower'} than with {depths[0]}.\n"
            )
    return lines


def training_errors(runs: Sequence[StudyRun]) -> list[float]:
    """Return the training errors of the final networks that were measured, in percent."""
    return [run.training_error for run in runs if run.training_error is not None]


def length(run: StudyRun) -> str:
    """Describe data set, length and schedule of a run."""
    config = run.config
    steps = f"{run.total_steps:,} steps" if run.total_steps else f"{config.epochs:g} epochs"
    return f"{config.dataset}, {steps} of {config.batch_size}, schedule {config.schedule}"
