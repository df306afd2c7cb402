"""One number for each layer, by depth, for several networks."""

from collections.abc import Mapping
from pathlib import Path

from resnet_jax.analysis.plots.canvas import Drawing, save, subplots


def draw_gradient_norms(networks: Mapping[str, Mapping[str, float]], path: Path) -> Drawing:
    """What `gradient_norms` gives for each of several networks, by depth, on a logarithmic scale."""
    figure, axes = subplots(figsize=(8, 4.5))
    for label, values in networks.items():
        axes.plot(range(1, len(values) + 1), list(values.values()), marker="o", markersize=3, label=label)
    axes.set(xlabel="convolution, the first reads the image", ylabel="norm of the gradient of the layer's kernel")
    axes.set(yscale="log", title="Gradients by depth, before training")
    axes.grid(alpha=0.3)
    axes.legend()
    return save(figure, path)


def draw_responses(networks: Mapping[str, Mapping[str, float]], path: Path) -> Drawing:
    """What `response_std` gives for each of several networks: by depth, and sorted by size (He et al., figure 7)."""
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
    figure.suptitle("Responses of the layers behind BatchNorm")
    return save(figure, path)
