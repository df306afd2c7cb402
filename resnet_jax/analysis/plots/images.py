"""Grids of images with labels or predictions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from resnet_jax.analysis.plots.canvas import Drawing, save, subplots


def draw_predictions(
    images: np.ndarray,
    labels: Sequence[str],
    predictions: Sequence[str],
    probabilities: Sequence[float],
    path: Path,
) -> Drawing:
    """Draw a grid of images uint8 [N,H,W,3], each with its prediction: green where it is right, red where it is not."""
    columns = 8
    lines = -(-len(images) // columns)
    # Each image has 1.4 inches, and 0.4 above it for two lines of text, whose place need not be searched for.
    margins = {"left": 0.01, "right": 0.99, "bottom": 0.02 / lines, "top": 1 - 0.4 / (1.8 * lines)}
    figure, grid = subplots(
        *(lines, columns),
        figsize=(1.5 * columns, 1.8 * lines),
        squeeze=False,
        layout=None,
        gridspec_kw={**margins, "wspace": 0.07, "hspace": 0.4 / 1.4},
    )
    for axes in grid.flat:
        axes.axis("off")
    for axes, image, label, guess, p in zip(grid.flat, images, labels, predictions, probabilities, strict=False):
        axes.imshow(image, interpolation="nearest")
        right = label == guess
        axes.set_title(
            f"{guess} {p:.0%}" if right else f"{guess} {p:.0%}\nis {label}",
            fontsize=9,
            color="green" if right else "red",
            y=1,
            parse_math=False,  # a dollar sign in a class's name
        )
    return save(figure, path)


def draw_batch(images: np.ndarray, labels: Sequence[str], path: Path, title: str) -> Drawing:
    """Draw a grid of images, float [N,H,W,3] in [0, 1], each with its label."""
    columns = 8
    lines = -(-len(images) // columns)
    figure, grid = subplots(lines, columns, figsize=(1.7 * columns, 2.1 * lines + 0.4), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, image, label in zip(grid.flat, images, labels, strict=False):
        axes.imshow(image, interpolation="nearest")
        axes.set_title(label, fontsize=8, parse_math=False)
    figure.suptitle(title, fontsize=10, parse_math=False)
    return save(figure, path)
