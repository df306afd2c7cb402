"""Figure of error against iterations, plain and residual networks side by side."""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path

from resnet_jax.analysis.error_curves import ErrorCurve
from resnet_jax.analysis.plots.canvas import Drawing, save, subplots

PAPER_LIMIT = 20  # %: the paper's axis, which holds for trainings of the paper's length


def draw_error_curves(panels: Mapping[str, Sequence[ErrorCurve]], path: Path, title: str = "") -> Drawing:
    """Draw figure 6 of He et al. 2015: a panel for each kind of network, training error dashed, test error bold.

    Runs of one network share color and legend; one that is not finished ends in a cross. The axis of errors is the
    paper's, 0 to 20 %, where every curve ends below, and wider otherwise.
    """
    depths = sorted({curve.depth for curves in panels.values() for curve in curves})
    figure, grid = subplots(
        1, max(1, len(panels)), figsize=(1 + 5 * max(1, len(panels)), 4.5), sharex=True, sharey=True, squeeze=False
    )
    for axes, (kind, curves) in zip(grid[0], panels.items(), strict=False):
        labeled: set[str] = set()
        for curve in curves:
            color = f"C{depths.index(curve.depth)}"
            label = curve.label + ("" if curve.finished else " (unfinished)")
            axes.plot(curve.train_steps, curve.train_error, ls="--", lw=0.9, color=color)
            axes.plot(
                *(curve.test_steps, curve.test_error), lw=2, color=color, label=None if label in labeled else label
            )
            labeled.add(label)
            if not curve.finished:
                for steps, error in (
                    (curve.train_steps, curve.train_error),
                    (curve.test_steps, curve.test_error),
                ):
                    axes.plot(steps[-1:], error[-1:], marker="x", ls="", color=color)
        axes.set(title=kind, xlabel="iterations", ylim=(0, error_limit(panels)))
        axes.grid(alpha=0.3)
        if curves:
            axes.legend(loc="upper right")
    grid[0, 0].set_ylabel("error (%): training dashed, test bold")
    figure.suptitle(title, fontsize=10)
    return save(figure, path)


def error_limit(panels: Mapping[str, Sequence[ErrorCurve]]) -> float:
    """Return the end of the axis of errors in percent: a third above the highest end of a curve, rounded up to tens."""
    ends = [
        float(error[-1])
        for curves in panels.values()
        for curve in curves
        for error in (curve.train_error, curve.test_error)
        if len(error)
    ]
    highest = max(ends, default=0.0)
    return PAPER_LIMIT if highest <= PAPER_LIMIT else min(100, 10 * ceil(round(highest / 7.5, 6)))
