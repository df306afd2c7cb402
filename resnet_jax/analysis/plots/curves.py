"""Figures against the steps of a training: settings, loss and error."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from resnet_jax.analysis.plots.canvas import Drawing, save, subplots


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
    """Draw loss and error against steps, training and test, from the rows of a metrics.jsonl."""
    figure, (left, right) = subplots(1, 2, figsize=(10, 4))
    for split, style in (("train", {"alpha": 0.7}), ("eval", {"marker": "o", "markersize": 3})):
        some = [row for row in rows if row["split"] == split]
        steps = [row["step"] for row in some]
        style = style | ({"marker": "o"} if len(steps) == 1 else {})
        label = "training" if split == "train" else "test"
        left.plot(steps, [row["loss"] for row in some], label=label, **style)
        right.plot(steps, [100 * (1 - row["top1"]) for row in some], label=label, **style)
    left.set(xlabel="step", ylabel="loss (nats)", title=title)
    right.set(xlabel="step", ylabel="top-1 error (%)", ylim=(0, None))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    return save(figure, path)
