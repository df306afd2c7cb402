"""What a run has learned: its curves, and what it says of some images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from resnet_jax.analysis.plots.canvas import Drawing, save, subplots


def draw_curves(rows: Sequence[dict[str, Any]], path: Path, title: str) -> Drawing:
    """Loss and error against steps, training and test, from the rows of a metrics.jsonl."""
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


def draw_predictions(
    images: np.ndarray,
    labels: Sequence[str],
    predictions: Sequence[str],
    probabilities: Sequence[float],
    path: Path,
) -> Drawing:
    """A grid of images uint8 [N,H,W,3], each with its prediction: green where it is right, red where it is not."""
    columns = 8
    lines = -(-len(images) // columns)
    figure, grid = subplots(lines, columns, figsize=(1.5 * columns, 1.8 * lines), squeeze=False)
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
    return save(figure, path)
