"""Figure of paths by length: their number, the gradient along one, and the product."""

from pathlib import Path

from resnet_jax.analysis.path_lengths import PathLengths
from resnet_jax.analysis.plots.canvas import Drawing, save, subplots


def draw_path_lengths(found: PathLengths, path: Path, title: str = "") -> Drawing:
    """Draw the three panels of figure 6 of Veit et al. 2016."""
    figure, (left, middle, right) = subplots(1, 3, figsize=(13, 3.8))
    left.bar(found.lengths, 100 * found.share, color="tab:gray")
    left.set(ylabel="share of all paths (%)", title="Number of paths")
    middle.plot(found.lengths, found.gradient, marker="o", markersize=3, color="tab:orange")
    middle.set(ylabel="gradient along one path, at the image")
    middle.set(yscale="log", title="Gradient along one path")
    right.bar(found.lengths, 100 * found.effective, color="tab:blue")
    right.set(ylabel="share of the gradient (%)", title="Their product")
    for axes in (left, middle, right):
        axes.set_xlabel("length of the path (residual branches)")
        axes.locator_params(axis="x", integer=True)
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    return save(figure, path)
