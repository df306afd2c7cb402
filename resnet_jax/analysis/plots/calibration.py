"""Reliability diagram: how often a network is right, against how sure it is."""

import numpy as np

from resnet_jax.analysis.plots.canvas import subplots, svg_text


def svg_reliability(counts: np.ndarray, accuracy: np.ndarray) -> str:
    """Return the diagram as an <svg> element.

    Args:
        counts: int [N], images in each of N bins of confidence of equal width.
        accuracy: float [N], fraction of them that is right; NaN in an empty bin.
    """
    edges = np.linspace(0, 1, len(counts) + 1)
    figure, (upper, lower) = subplots(2, 1, figsize=(4.8, 4.2), sharex=True, height_ratios=(3, 1))
    upper.bar(edges[:-1], np.nan_to_num(accuracy), 1 / len(counts), align="edge", alpha=0.75, edgecolor="black", lw=0.5)
    upper.plot([0, 1], [0, 1], ls="--", color="black", lw=1, label="as sure as right")
    upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    upper.legend(loc="upper left")
    lower.bar(edges[:-1], counts, 1 / len(counts), align="edge", alpha=0.75, color="tab:gray")
    lower.set(xlabel="confidence", ylabel="images")
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    return svg_text(figure, "reliability", f"accuracy by confidence in {len(counts)} bins, and images in each")
