"""Trained parameters: first filters, normalization scales, weight histograms.

The first filters of a network for photographs are edges, colors and blobs (Krizhevsky et al. 2012, figure 3). The
scale of the last normalization of a block says how much the block changes the signal: blocks that the network does not
need have scales near zero.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from flax import linen as nn

from resnet_jax.analysis.capture import leaves_of, main_convs, main_norms
from resnet_jax.errors import InputError


@dataclass(frozen=True)
class WeightHistograms:
    """Histograms of the weights of every layer, on one axis.

    Attributes:
        names: L convolutions, the one nearest to the image first.
        edges: [N + 1], of the bins, in units of the standard deviation at initialization, sqrt(2 / fan_out).
        share: [L,N], of each layer's weights; weights beyond the edges are counted in the outermost bins.
    """

    names: tuple[str, ...]
    edges: np.ndarray
    share: np.ndarray


def first_filters(model: nn.Module, variables: Any, images: np.ndarray) -> np.ndarray:
    """Return the filters of the first convolution as images [N,k,k,3] in [0, 1], each scaled on its own around 0.5.

    Args:
        model: the network.
        variables: its variables, trained.
        images: [B,H,W,3]; only their shape is used.

    Raises:
        InputError: the first convolution with trained filters does not read the image (airbench's reads whitened
            patches).
    """
    name = main_convs(model, variables, images)[0]
    kernel = np.asarray(leaves_of(variables["params"], name)["kernel"], np.float32)
    if kernel.shape[2] != 3:
        raise InputError(f"{type(model).__name__}: {name} reads {kernel.shape[2]} channels; its filters are not images")
    filters = kernel.transpose(3, 0, 1, 2)
    largest = np.abs(filters).max(axis=(1, 2, 3), keepdims=True)
    return 0.5 + 0.5 * filters / np.maximum(largest, np.finfo(np.float32).tiny)


def norm_scales(model: nn.Module, variables: Any, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scales [C] of every normalization of the main path, from the image on.

    Args:
        model: a network with normalization.
        variables: its variables, trained.
        images: [B,H,W,3]; only their shape is used.

    Raises:
        InputError: the network has no normalization, or none with a scale.
    """
    names = main_norms(model, variables, images)
    if not names:
        raise InputError(f"{type(model).__name__} has no normalization; give a network with BatchNorm or GroupNorm")
    leaves = {name: leaves_of(variables["params"], name) for name in names}
    if without := [name for name in names if "scale" not in leaves[name]]:
        raise InputError(f"{type(model).__name__}: {without[0]} has no scale; give a network whose normalizations do")
    return {name: np.asarray(leaves[name]["scale"]) for name in names}


def weight_histograms(
    model: nn.Module, variables: Any, images: np.ndarray, *, num_bins: int = 101, limit: float = 4.0
) -> WeightHistograms:
    """Compute histograms of the kernels of the main path's convolutions.

    Args:
        model: any network.
        variables: its variables.
        images: [B,H,W,3]; only their shape is used.
        num_bins: N; an odd number has a bin around zero.
        limit: the axis goes from -limit to limit initial standard deviations.
    """
    names = main_convs(model, variables, images)
    edges = np.linspace(-limit, limit, num_bins + 1)

    def share(name: str) -> np.ndarray:
        kernel = np.asarray(leaves_of(variables["params"], name)["kernel"], np.float64)
        fan_out = kernel.shape[0] * kernel.shape[1] * kernel.shape[3]
        counts, _ = np.histogram(np.clip(kernel * np.sqrt(fan_out / 2), -limit, limit), edges)
        return counts / kernel.size

    return WeightHistograms(names, edges, np.stack([share(name) for name in names]))
