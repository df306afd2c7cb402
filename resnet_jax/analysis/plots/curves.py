"""Figures against the steps of a training: settings, loss and error."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resnet_jax.analysis.plots.canvas import Drawing, save, subplots, svg_text

PAGE_SIZE = (4.8, 3.2)  # inches: letters keep their size on a phone
COLORS = [f"tab:{name}" for name in ("blue", "orange", "green", "red", "purple", "brown", "pink", "olive", "cyan")]
DASHES = ("-", "--", ":")  # of the first nine runs, the next nine, and those after them


@dataclass(frozen=True)
class Quantity:
    """Quantity of the rows of a metrics.jsonl that is plotted.

    Attributes:
        key: short name.
        label: of its axis.
        of: row -> value.
        from_zero: its axis begins at zero.
    """

    key: str
    label: str
    of: Callable[[dict[str, Any]], float]
    from_zero: bool


LOSS = Quantity("loss", "loss (nats)", lambda row: row["loss"], from_zero=False)
ERROR = Quantity("error", "top-1 error (%)", lambda row: 100 * (1 - row["top1"]), from_zero=True)
IOU = Quantity("miou", "mean IoU (%)", lambda row: 100 * row["miou"], from_zero=True)


def quantities_of(rows: Sequence[dict[str, Any]]) -> tuple[Quantity, Quantity]:
    """Return the two quantities that are drawn of a run: the loss, and the error or, of masks, the IoU."""
    return LOSS, IOU if rows and "miou" in rows[0] else ERROR


def draw_trace(trace: dict[str, np.ndarray], path: Path, title: str) -> Drawing:
    """Draw the settings of a training against its epochs: the fields of `dry_run.Trace` as arrays [N]."""
    shown = [("learning_rate", "learning rate")]
    if not np.isnan(trace["decay"]).any():
        shown.append(("decay", "weight decay a step"))
    if len(np.unique(trace["image_size"])) > 1:
        shown.append(("image_size", "pixels a side"))
    if (trace["ema"] < 1).any():
        shown.append(("ema", "EMA decay"))
    figure, grid = subplots(len(shown), 1, figsize=(8, 1 + 1.9 * len(shown)), sharex=True, squeeze=False)
    for axes, (name, label) in zip(grid[:, 0], shown, strict=True):
        axes.plot(trace["epoch"], trace[name], drawstyle="steps-post" if name == "image_size" else "default")
        axes.set(ylabel=label)
        axes.grid(alpha=0.3)
    grid[0, 0].set_title(title, fontsize=9)
    grid[-1, 0].set_xlabel("epoch")
    return save(figure, path)


def draw_rate_test(
    rates: np.ndarray, losses: np.ndarray, means: np.ndarray, suggestion: float | None, path: Path, title: str
) -> Drawing:
    """Draw the losses of a rate range test against its rates: arrays [N] of `find_rate.RateTest`."""
    figure, axes = subplots(1, 1, figsize=(7, 4))
    axes.semilogx(rates, losses, alpha=0.4, label="loss of a step")
    axes.semilogx(rates, means, label="running mean")
    if suggestion is not None:
        axes.axvline(suggestion, color="black", lw=1, ls=":", label=f"suggestion: {suggestion:.2g}")
    low, high = np.min(means), np.max(means[: max(1, np.argmin(means))])
    axes.set(xlabel="learning rate", ylabel="training loss (nats)", title=title)
    axes.set_ylim(low - 0.2 * (high - low), high + 0.5 * (high - low))
    axes.grid(alpha=0.3)
    axes.legend()
    return save(figure, path)


def draw_curves(rows: Sequence[dict[str, Any]], path: Path, title: str) -> Drawing:
    """Draw loss and error or IoU against steps, training and test, from the rows of a metrics.jsonl."""
    figure, (left, right) = subplots(1, 2, figsize=(10, 4))
    for axes, quantity in zip((left, right), quantities_of(rows), strict=True):
        plot_curves(axes, rows, quantity)
        label_axes(axes, quantity)
        axes.legend()
    left.set_title(title)
    return save(figure, path)


def svg_curves(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the same as two <svg> elements: the loss, and the error."""
    drawn = []
    for quantity in quantities_of(rows):
        figure, axes = subplots(figsize=PAGE_SIZE)
        plot_curves(axes, rows, quantity)
        label_axes(axes, quantity)
        axes.legend()
        drawn.append(svg_text(figure, quantity.key, f"{quantity.label}, training and test, against the step"))
    return drawn


def svg_curves_of_runs(runs: Sequence[tuple[str, Sequence[dict[str, Any]]]]) -> list[str]:
    """Return loss and error of several runs as two <svg> elements: each a label and the rows of its metrics.jsonl."""
    drawn = []
    for quantity in quantities_of(runs[0][1] if runs else ()):
        figure, axes = subplots(figsize=PAGE_SIZE)
        handles = []
        for number, (_, rows) in enumerate(runs):
            dashes = DASHES[number // len(COLORS) % len(DASHES)]
            handles.append(plot_curves(axes, rows, quantity, COLORS[number % len(COLORS)], dashes))
        label_axes(axes, quantity)
        legend = axes.legend(handles, [label for label, _ in runs], fontsize="small")
        for text in legend.get_texts():
            text.set_parse_math(False)  # a dollar sign in a folder's name
        drawn.append(svg_text(figure, quantity.key, f"{quantity.label} of {len(runs)} runs against the step"))
    return drawn


def plot_curves(
    axes: Any, rows: Sequence[dict[str, Any]], quantity: Quantity, color: str | None = None, dashes: str = "-"
) -> Any:
    """Plot a quantity of a run, in training and in the test; return the line of the test.

    Args:
        axes: to plot in.
        rows: of a metrics.jsonl.
        quantity: one of `quantities_of`.
        color: of the run; None takes one for each of the two lines.
        dashes: matplotlib's style of both lines.
    """
    line = None
    for split, style in (("train", {"alpha": 0.7}), ("eval", {"marker": "o", "markersize": 3})):
        some = [row for row in rows if row["split"] == split]
        steps = [row["step"] for row in some]
        style = style | ({"marker": "o"} if len(steps) == 1 else {})
        style = style | ({"color": color, "lw": 1 if split == "train" else 1.8} if color else {})
        label = "training" if split == "train" else "evaluation"
        (line,) = axes.plot(steps, [quantity.of(row) for row in some], label=label, linestyle=dashes, **style)
    axes.grid(alpha=0.3)
    return line


def label_axes(axes: Any, quantity: Quantity) -> None:
    """Label the axes once everything is plotted: limits that are set no longer make room."""
    axes.set(xlabel="step", ylabel=quantity.label)
    if quantity.from_zero:
        axes.set_ylim(bottom=0)
