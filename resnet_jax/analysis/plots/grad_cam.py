"""Figure of Grad-CAM maps over their images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from resnet_jax.analysis.grad_cam import GradCam
from resnet_jax.analysis.plots.canvas import Drawing, save, subplots


def draw_grad_cam(images: np.ndarray, found: GradCam, class_names: Sequence[str], path: Path) -> Drawing:
    """Draw images uint8 [B,H,W,3] in the upper row, and below each its Grad-CAM map over it."""
    columns = len(images)
    figure, grid = subplots(2, columns, figsize=(1.8 * columns + 1, 4), squeeze=False)
    for index, (image, map_) in enumerate(zip(images, found.maps, strict=True)):
        upper, lower = grid[:, index]
        upper.imshow(image)
        lower.imshow(image)
        lower.imshow(map_, cmap="jet", alpha=0.45, vmin=0, vmax=1)
        upper.set_title(f"{class_names[found.classes[index]]} {found.probabilities[index]:.0%}", fontsize=10)
        for axes in (upper, lower):
            axes.axis("off")
    figure.colorbar(grid[1, -1].images[-1], ax=grid[:, -1], label="Grad-CAM, relative to the maximum")
    return save(figure, path)
