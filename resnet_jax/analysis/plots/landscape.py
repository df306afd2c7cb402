"""Figures of the loss landscape around trained networks."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from resnet_jax.analysis.landscape import Landscape
from resnet_jax.analysis.plots.canvas import Drawing, save, subplots


def draw_loss_lines(networks: Mapping[str, Landscape], path: Path) -> Drawing:
    """Draw the `loss_line` of several networks: loss on a logarithmic scale, and error.

    Networks whose names differ in what follows "-seed" share color and legend.
    """
    figure, (left, right) = subplots(1, 2, figsize=(11, 4))
    colors: dict[str, str] = {}
    for name, found in networks.items():
        kind = name.partition("-seed")[0]
        label = None if kind in colors else kind
        color = colors.setdefault(kind, f"C{len(colors)}")
        left.plot(found.steps, found.loss, marker="o", markersize=3, color=color, label=label)
        right.plot(found.steps, 100 * found.error, marker="o", markersize=3, color=color, label=label)
    left.set(ylabel="loss (nats)", yscale="log")
    right.set(ylabel="top-1 error (%)", ylim=(0, 100))
    for axes in (left, right):
        axes.set_xlabel("distance along a random direction (filter norms)")
        axes.grid(alpha=0.3)
        axes.legend()
    return save(figure, path)


def draw_loss_square(found: Landscape, path: Path, title: str = "") -> Drawing:
    """Draw a `loss_square`: contours of the loss at equal ratios."""
    figure, axes = subplots(figsize=(6, 5))
    finite = found.loss[np.isfinite(found.loss) & (found.loss > 0)]
    levels = np.geomspace(finite.min(), finite.max() * 1.001, 25)
    # The first index is the first direction, which is drawn to the right.
    loss = np.maximum(found.loss.T, levels[0])
    filled = axes.contourf(found.steps, found.steps, loss, levels, norm="log", cmap="viridis")
    axes.contour(found.steps, found.steps, loss, levels, norm="log", colors="black", linewidths=0.3)
    bar = figure.colorbar(filled, ax=axes, label="loss (nats)", ticks=levels[::4])
    bar.ax.set_yticklabels([f"{level:.3g}" for level in levels[::4]])
    bar.ax.minorticks_off()
    axes.plot(0, 0, marker="+", color="white", markersize=12, markeredgewidth=2)
    axes.set(xlabel="first direction (filter norms)", ylabel="second direction", title=title, aspect="equal")
    return save(figure, path)
