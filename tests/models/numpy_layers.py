"""The layers of a convolutional network in plain numpy: slow, and short enough to be believed. Images are [B,H,W,C]."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def conv(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | float = 0.0, padding: int | None = None) -> np.ndarray:
    """Convolution at stride 1 with a kernel [k,k,in,out]; by default padded to keep the size."""
    k = kernel.shape[0]
    pad = (k - 1) // 2 if padding is None else padding
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    windows = sliding_window_view(x, (k, k), axis=(1, 2))  # [B,H,W,in,k,k]
    return np.einsum("bhwckl,klcf->bhwf", windows, kernel) + bias


def normalize(x: np.ndarray, params: dict, stats: dict) -> np.ndarray:
    """Normalization by running statistics."""
    return (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5) * params["scale"] + params["bias"]


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def blocks_of_2x2(x: np.ndarray) -> np.ndarray:
    """[B,H,W,C] -> [B,H/2,W/2,C,4]; an odd last row or column is left out."""
    x = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
    return np.stack([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=-1)


def up_conv(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Every pixel makes 2x2 pixels, each by its own matrix kernel[i,j]."""
    y = np.zeros((x.shape[0], 2 * x.shape[1], 2 * x.shape[2], kernel.shape[-1]))
    for i in (0, 1):
        for j in (0, 1):
            y[:, i::2, j::2] = x @ kernel[i, j] + bias
    return y


def dense(x: np.ndarray, params: dict) -> np.ndarray:
    return x @ params["kernel"] + params["bias"]
