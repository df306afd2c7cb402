"""Figures of feature maps and layer responses."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from resnet_jax.analysis.plots.canvas import Drawing, save, subplots


def draw_feature_maps(picture: np.ndarray, maps: Mapping[str, np.ndarray], path: Path) -> Drawing:
    """Draw an image uint8 [H,W,3] and its `feature_maps`, a row for each stage."""
    columns = 1 + max(len(some) for some in maps.values())
    figure, grid = subplots(len(maps), columns, figsize=(1.5 * columns, 1.6 * len(maps)), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    grid[0, 0].imshow(picture)
    for line, (name, some) in zip(grid, maps.items(), strict=True):
        for axes, values in zip(line[1:], some, strict=False):
            axes.imshow(values, cmap="magma", interpolation="nearest", vmin=0)
        line[1].set_title(f"{name}, {some.shape[1]}x{some.shape[2]}", fontsize=9, loc="left")
    return save(figure, path)


def draw_responses(networks: Mapping[str, Mapping[str, float]], path: Path) -> Drawing:
    """Draw the `response_std` of several networks: by depth, and sorted by size (He et al. 2015, figure 7)."""
    figure, (left, right) = subplots(1, 2, figsize=(11, 4), sharey=True)
    for label, values in networks.items():
        depth = range(1, len(values) + 1)
        left.plot(depth, list(values.values()), marker="o", markersize=3, label=label)
        right.plot(depth, sorted(values.values(), reverse=True), marker="o", markersize=3, label=label)
    left.set(xlabel="convolution, the first reads the image", ylabel="standard deviation of the responses")
    right.set(xlabel="convolutions, sorted by their responses")
    for axes in (left, right):
        axes.set_ylim(0, None)
        axes.grid(alpha=0.3)
    right.legend()
    figure.suptitle("Layer responses after BatchNorm")
    return save(figure, path)
