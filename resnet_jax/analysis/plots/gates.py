"""Figure of the gates of a highway network."""

from pathlib import Path

import numpy as np

from resnet_jax.analysis.gates import Gates
from resnet_jax.analysis.plots.canvas import Drawing, mark_stages, save, subplots


def draw_gates(gates: Gates, path: Path, title: str = "") -> Drawing:
    """Draw biases and mean values of the gates of every channel by depth (Srivastava et al. 2015, figure 2)."""
    figure, grid = subplots(1, 3, figsize=(13, 4), width_ratios=(1, 1, 1))
    depth = np.arange(len(gates.names))
    panels = (("bias", gates.bias, None), ("mean value", gates.activity, (0, 1)))
    for axes, (label, values, limits) in zip(grid, panels, strict=False):
        means = [channels.mean() for channels in values]
        low, high = (np.array([np.quantile(channels, q) for channels in values]) for q in (0.1, 0.9))
        axes.fill_between(depth, low, high, alpha=0.25, label="80 % of the channels")
        axes.plot(depth, means, marker="o", markersize=3, label="mean of the channels")
        axes.set(xlabel="block, from the image on", ylabel=f"{label} of the transform gates")
        axes.set_ylim(limits)
        mark_stages(axes, gates.names)
        axes.grid(alpha=0.3)
        axes.legend()
    # Channels sorted within a block, because their numbers mean nothing across blocks.
    table = np.full((len(gates.names), max(map(len, gates.activity))), np.nan)
    for row, channels in zip(table, gates.activity, strict=True):
        row[: len(channels)] = np.sort(channels)[::-1]
    image = grid[2].imshow(table, aspect="auto", interpolation="nearest", vmin=0, vmax=1, cmap="magma")
    figure.colorbar(image, ax=grid[2], label="mean value (0 carries, 1 transforms)")
    mark_stages(grid[2], gates.names, along="y")
    grid[2].set(xlabel="channels, the most open first", ylabel="block, from the image on")
    figure.suptitle(title)
    return save(figure, path)
