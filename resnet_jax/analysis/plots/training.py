"""What a training would do: how its settings change, and what its network sees."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from resnet_jax.analysis.plots.canvas import Drawing, save, subplots


def draw_trace(trace: dict[str, np.ndarray], path: Path, title: str) -> Drawing:
    """How a training's settings change with the step: the fields of `dry_run.Trace` as arrays [N]."""
    shown = [("learning_rate", "learning rate")]
    if not np.isnan(trace["decay"]).any():
        shown.append(("decay", "weight decay a step"))
    if len(np.unique(trace["image_size"])) > 1:
        shown.append(("image_size", "pixels a side"))
    if (trace["ema"] < 1).any():
        shown.append(("ema", "average keeps"))
    figure, grid = subplots(len(shown), 1, figsize=(8, 1 + 1.9 * len(shown)), sharex=True, squeeze=False)
    for axes, (name, label) in zip(grid[:, 0], shown, strict=True):
        axes.plot(trace["epoch"], trace[name], drawstyle="steps-post" if name == "image_size" else "default")
        axes.set(ylabel=label)
        axes.grid(alpha=0.3)
    grid[0, 0].set_title(title, fontsize=9)
    grid[-1, 0].set_xlabel("epoch")
    return save(figure, path)


def draw_batch(images: np.ndarray, labels: Sequence[str], path: Path, title: str) -> Drawing:
    """A grid of images, float [N,H,W,3] in [0, 1], each with its label."""
    columns = 8
    lines = -(-len(images) // columns)
    figure, grid = subplots(lines, columns, figsize=(1.7 * columns, 2.1 * lines + 0.4), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, image, label in zip(grid.flat, images, labels, strict=False):
        axes.imshow(image, interpolation="nearest")
        axes.set_title(label, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return save(figure, path)
