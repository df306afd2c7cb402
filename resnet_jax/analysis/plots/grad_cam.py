"""GradCam laid over the pictures it was found in."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from resnet_jax.analysis.grad_cam import GradCam
from resnet_jax.analysis.plots.canvas import Drawing, save, subplots


def draw_grad_cam(pictures: np.ndarray, found: GradCam, class_names: Sequence[str], path: Path) -> Drawing:
    """Pictures uint8 [B,H,W,3] in the upper line, each with the evidence for its class laid over it below."""
    columns = len(pictures)
    figure, grid = subplots(2, columns, figsize=(1.8 * columns + 1, 4), squeeze=False)
    for index, (picture, map_) in enumerate(zip(pictures, found.maps, strict=True)):
        upper, lower = grid[:, index]
        upper.imshow(picture)
        lower.imshow(picture)
        lower.imshow(map_, cmap="jet", alpha=0.45, vmin=0, vmax=1)
        upper.set_title(f"{class_names[found.classes[index]]} {found.probabilities[index]:.0%}", fontsize=10)
        for axes in (upper, lower):
            axes.axis("off")
    figure.colorbar(grid[1, -1].images[-1], ax=grid[:, -1], label="evidence, relative to the most")
    return save(figure, path)
