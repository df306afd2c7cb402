"""Grad-CAM maps over their images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from resnet_jax.analysis.grad_cam import GradCam
from resnet_jax.analysis.plots.canvas import Drawing, colored, save, subplots

COLORS, OPACITY = "jet", 0.45


def draw_grad_cam(images: np.ndarray, found: GradCam, class_names: Sequence[str], path: Path) -> Drawing:
    """Draw images uint8 [B,H,W,3] in the upper row, and below each its Grad-CAM map over it."""
    columns = len(images)
    figure, grid = subplots(2, columns, figsize=(1.8 * columns + 1, 4), squeeze=False)
    for index, (image, map_) in enumerate(zip(images, found.maps, strict=True)):
        upper, lower = grid[:, index]
        upper.imshow(image)
        lower.imshow(image)
        lower.imshow(map_, cmap=COLORS, alpha=OPACITY, vmin=0, vmax=1)
        title = f"{class_names[found.classes[index]]} {found.probabilities[index]:.0%}"
        upper.set_title(title, fontsize=10, parse_math=False)
        for axes in (upper, lower):
            axes.axis("off")
    figure.colorbar(grid[1, -1].images[-1], ax=grid[:, -1], label="Grad-CAM, relative to the maximum")
    return save(figure, path)


def overlay_map(image: np.ndarray, map_: np.ndarray) -> np.ndarray:
    """Return an image uint8 [H,W,3] under its Grad-CAM map, [H,W] in [0, 1]."""
    return np.round((1 - OPACITY) * image + OPACITY * colored(map_, COLORS)).astype(np.uint8)
