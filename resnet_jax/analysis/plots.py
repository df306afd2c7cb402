"""Figures, drawn without a display. matplotlib is imported by the functions, so that a run pays for it only here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def draw_curves(rows: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """Loss and error against steps, training and test, from the rows of a metrics.jsonl."""
    figure, (left, right) = _subplots(1, 2, figsize=(10, 4))
    for split, style in (("train", {"alpha": 0.7}), ("eval", {"marker": "o", "markersize": 3})):
        some = [row for row in rows if row["split"] == split]
        steps = [row["step"] for row in some]
        label = "training" if split == "train" else "test"
        left.plot(steps, [row["loss"] for row in some], label=label, **style)
        right.plot(steps, [100 * (1 - row["top1"]) for row in some], label=label, **style)
    left.set(xlabel="step", ylabel="loss (nats)", title=title)
    right.set(xlabel="step", ylabel="top-1 error (%)", ylim=(0, None))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    _save(figure, path)


def draw_predictions(
    images: np.ndarray,
    labels: Sequence[str],
    predictions: Sequence[str],
    probabilities: Sequence[float],
    path: Path,
) -> None:
    """A grid of images uint8 [N,H,W,3], each with its prediction: green where it is right, red where it is not."""
    columns = 8
    lines = -(-len(images) // columns)
    figure, grid = _subplots(lines, columns, figsize=(1.5 * columns, 1.8 * lines), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, image, label, guess, p in zip(grid.flat, images, labels, predictions, probabilities, strict=False):
        axes.imshow(image, interpolation="nearest")
        right = label == guess
        axes.set_title(
            f"{guess} {p:.0%}" if right else f"{guess} {p:.0%}\nis {label}",
            fontsize=9,
            color="green" if right else "red",
        )
    _save(figure, path)


def draw_trace(trace: dict[str, np.ndarray], path: Path, title: str) -> None:
    """How a training's settings change with the step: the fields of `dry_run.Trace` as arrays [N]."""
    shown = [("learning_rate", "learning rate"), ("decay", "weight decay a step")]
    if len(np.unique(trace["image_size"])) > 1:
        shown.append(("image_size", "pixels a side"))
    if (trace["ema"] < 1).any():
        shown.append(("ema", "average keeps"))
    figure, grid = _subplots(len(shown), 1, figsize=(8, 1 + 1.9 * len(shown)), sharex=True, squeeze=False)
    for axes, (name, label) in zip(grid[:, 0], shown, strict=True):
        axes.plot(trace["epoch"], trace[name], drawstyle="steps-post" if name == "image_size" else "default")
        axes.set(ylabel=label)
        axes.grid(alpha=0.3)
    grid[0, 0].set_title(title, fontsize=9)
    grid[-1, 0].set_xlabel("epoch")
    _save(figure, path)


def draw_batch(images: np.ndarray, labels: Sequence[str], path: Path, title: str) -> None:
    """A grid of images, float [N,H,W,3] in [0, 1], each with its label."""
    columns = 8
    lines = -(-len(images) // columns)
    figure, grid = _subplots(lines, columns, figsize=(1.7 * columns, 2.1 * lines + 0.4), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, image, label in zip(grid.flat, images, labels, strict=False):
        axes.imshow(image, interpolation="nearest")
        axes.set_title(label, fontsize=8)
    figure.suptitle(title, fontsize=10)
    _save(figure, path)


def _subplots(*args: Any, **kwargs: Any) -> Any:
    # The object-oriented way: pyplot would keep every figure and might look for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=kwargs.pop("figsize"), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(*args, **kwargs)


def _save(figure: Any, path: Path) -> None:
    draft = path.with_name(f".{path.name}")
    figure.savefig(draft, dpi=110, format="png")
    draft.replace(path)
