"""Figure of gradient norms by depth."""

from collections.abc import Mapping
from pathlib import Path

from resnet_jax.analysis.plots.canvas import Drawing, save, subplots


def draw_gradient_norms(networks: Mapping[str, Mapping[str, float]], path: Path) -> Drawing:
    """Draw the `gradient_norms` of several networks by depth, on a logarithmic scale."""
    figure, axes = subplots(figsize=(8, 4.5))
    for label, values in networks.items():
        axes.plot(range(1, len(values) + 1), list(values.values()), marker="o", markersize=3, label=label)
    axes.set(xlabel="convolution, the first reads the image", ylabel="norm of the gradient of the layer's kernel")
    axes.set(yscale="log", title="Gradients by depth, before training")
    axes.grid(alpha=0.3)
    axes.legend()
    return save(figure, path)
