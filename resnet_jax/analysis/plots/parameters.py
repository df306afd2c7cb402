"""Figures of trained parameters: first filters, normalization scales, weight histograms."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from resnet_jax.analysis.parameters import WeightHistograms
from resnet_jax.analysis.plots.canvas import Drawing, mark_stages, save, subplots


def draw_filters(filters: np.ndarray, path: Path) -> Drawing:
    """Draw the `first_filters` [N,k,k,3] on a grid."""
    columns = min(len(filters), max(8, int(np.ceil(np.sqrt(len(filters))))))
    lines = -(-len(filters) // columns)
    figure, grid = subplots(lines, columns, figsize=(0.8 * columns, 0.8 * lines), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, picture in zip(grid.flat, filters, strict=False):
        axes.imshow(picture, interpolation="nearest")
    return save(figure, path)


def draw_norm_scales(scales: Mapping[str, np.ndarray], path: Path, title: str = "") -> Drawing:
    """Draw the magnitudes of `norm_scales` by depth, with the last normalization of every block in red."""
    names = list(scales)
    figure, axes = subplots(figsize=(max(7, 0.16 * len(names) + 3), 4.5))
    last = {name.rpartition("/")[0]: name for name in names if "/" in name}.values()
    for label, color, wanted in (
        ("last of its block", "tab:red", [name for name in names if name in last]),
        ("others", "tab:gray", [name for name in names if name not in last]),
    ):
        positions = [names.index(name) for name in wanted]
        sizes = [np.abs(scales[name]) for name in wanted]
        low, middle, high = (np.array([np.quantile(size, q) for size in sizes]) for q in (0.1, 0.5, 0.9))
        axes.errorbar(positions, middle, (middle - low, high - middle), fmt="o", color=color, markersize=4, label=label)
    mark_stages(axes, names)
    axes.set(xlabel="normalization, from the image on", ylabel="magnitude of the scales (median, 80 % of the channels)")
    axes.set_ylim(0, None)
    axes.set_title(title, pad=18)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return save(figure, path)


def draw_weight_histograms(found: WeightHistograms, path: Path, title: str = "") -> Drawing:
    """Draw `weight_histograms`, one row of colors a layer."""
    figure, axes = subplots(figsize=(7, max(3.5, 0.12 * len(found.names) + 2)))
    density = found.share / np.diff(found.edges)
    image = axes.pcolormesh(
        found.edges, np.arange(len(density) + 1) + 0.5, density, cmap="magma", norm="log", vmin=1e-3
    )
    axes.set_facecolor("black")  # bins without a weight
    axes.invert_yaxis()
    axes.set(xlabel="weight (initial deviations, sqrt(2 / fan-out))", ylabel="convolution, from the image on")
    axes.set_title(title)
    figure.colorbar(image, ax=axes, label="density")
    return save(figure, path)
