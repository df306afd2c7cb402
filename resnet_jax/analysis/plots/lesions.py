"""Figures of the error of networks with removed or reordered blocks."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from resnet_jax.analysis.permutations import Permutations
from resnet_jax.analysis.plots.canvas import Drawing, save, subplots


def draw_removed_blocks(networks: Mapping[str, Mapping[str, float]], path: Path) -> Drawing:
    """Draw the `error_by_removed_block` of several networks; the whole networks' errors are dashed."""
    names = list(dict.fromkeys(name for errors in networks.values() for name in errors if name))
    order = sorted(names)
    figure, axes = subplots(figsize=(max(6, 0.32 * len(order)) + 2, 4.5))
    for index, (label, errors) in enumerate(networks.items()):
        positions = [order.index(name) for name in errors if name]
        values = [100 * error for name, error in errors.items() if name]
        axes.plot(positions, values, marker="o", markersize=4, lw=1, color=f"C{index}", label=label)
        axes.axhline(100 * errors[""], color=f"C{index}", ls="--", lw=1, label=f"{label}, whole")
    axes.set_xticks(range(len(order)), [name.replace("stage", "").replace("_block", ".") for name in order])
    axes.tick_params(axis="x", labelrotation=90 if len(order) > 12 else 0)
    axes.set(xlabel="removed block (stage.block)", ylabel="top-1 error (%)", ylim=(0, 100))
    axes.set_title("Error without one block")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return save(figure, path)


def draw_removed_numbers(numbers: Sequence[int], networks: Mapping[str, np.ndarray], path: Path) -> Drawing:
    """Draw the `error_by_number_removed` of several networks: medians, and every sample."""
    figure, axes = subplots(figsize=(6.5, 4.5))
    for index, (label, errors) in enumerate(networks.items()):
        axes.plot(numbers, 100 * np.median(errors, axis=1), marker="o", color=f"C{index}", label=f"{label}, median")
        axes.scatter(np.repeat(numbers, errors.shape[1]), 100 * errors.ravel(), s=12, alpha=0.4, color=f"C{index}")
    axes.set(xlabel="number of removed blocks", ylabel="top-1 error (%)", ylim=(0, 100), xticks=list(numbers))
    axes.set_title("Error without several blocks")
    axes.grid(alpha=0.3)
    axes.legend()
    return save(figure, path)


def draw_permutations(networks: Mapping[str, Permutations], path: Path) -> Drawing:
    """Draw the `error_by_swaps` of several networks against the distance from the trained order."""
    figure, axes = subplots(figsize=(6.5, 4.5))
    for label, found in networks.items():
        axes.scatter(found.kendall_tau.ravel(), 100 * found.error.ravel(), s=18, alpha=0.7, label=label)
    axes.set(xlabel="Kendall's tau of the new order (1: as trained)", ylabel="top-1 error (%)", ylim=(0, 100))
    axes.invert_xaxis()
    axes.set_title("Error with blocks in another order")
    axes.grid(alpha=0.3)
    axes.legend()
    return save(figure, path)
