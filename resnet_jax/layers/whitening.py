"""A first layer computed from the data: a convolution that makes the values of a patch uncorrelated.

The kernel is a statistic of the images and is never trained, so that it is in "batch_stats" with the running means: no
optimizer changes it, and nothing decays it. A zero gradient would not be enough, because weight decay needs none.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from resnet_jax.errors import InputError

PATCH = 2  # pixels a side

# Images whose patches are in memory at once; those of 5,000 would be 0.5 GB in float64.
CHUNK = 500


class WhiteningConv(nn.Module):
    """A whitening convolution: 2x2 patches through the kernel of `whitening_kernel`, and a learned bias.

    [B,H,W,C] -> [B,H-1,W-1,8C].

    Until `whiten` sets the kernel, it is that of images whose values are uncorrelated and have variance 1: every value
    of the patch as it is, and its negative. A network that is never whitened works, but its inputs are correlated.

    The convolution is float32 under every `dtype`, its output is not. Directions that hardly occur are small
    differences of pixels, times 30: on CIFAR-10, rounding the input to bfloat16 would be an error of 7 % of the last
    one's root mean square, where float16, the type of Jordan 2024, and TF32 give 1 % (measured).
    """

    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        kernel = self.variable("batch_stats", "kernel", _kernel_of_white_noise, channels)
        bias = self.param("bias", nn.initializers.zeros, (kernel.value.shape[-1],), self.param_dtype)
        y = jax.lax.conv_general_dilated(
            x.astype(jnp.float32),
            kernel.value,
            window_strides=(1, 1),
            padding="VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=jax.lax.Precision.HIGH,  # a TPU's default is bfloat16; on GPUs this is TF32
        )
        return (y + bias.astype(jnp.float32).reshape(1, 1, 1, -1)).astype(self.dtype)


def _kernel_of_white_noise(channels: int) -> jax.Array:
    return jnp.asarray(_kernel(np.eye(PATCH * PATCH * channels), channels))


GRAY = 1e-9  # smallest eigenvalue of patches over the largest; of CIFAR-10 it is 6e-5


def whitening_kernel(images: np.ndarray, eps: float = 5e-4) -> np.ndarray:
    """Return the kernel [2,2,C,8C], float32, that whitens the 2x2 patches of images [N,H,W,C].

    Its first 4C output channels are the eigenvectors of the patches' second moments about zero, largest eigenvalue
    first, each divided by sqrt(eigenvalue + eps); the other 4C are their negatives. The outputs of the first 4C are
    uncorrelated, with mean squares eigenvalue / (eigenvalue + eps): 1, except in directions that hardly occur.

    The same images give the same kernel: an eigenvector's sign is the one that makes its largest entry positive.

    Args:
        images: normalized, without augmentation; Jordan 2024 uses the first 5,000 of the training set.
        eps: keeps directions that hardly occur, which are mostly noise, from being amplified.

    Raises:
        InputError: the images have no color. Some directions hold rounding alone then, and a normalization behind the
            layer would divide by it.
    """
    channels = images.shape[-1]
    moments = patch_moments(images)
    values, vectors = np.linalg.eigh(moments)
    values, vectors = values[::-1], vectors[:, ::-1]
    if values[-1] < GRAY * values[0]:
        raise InputError("the network whitens colors, and the images have none; take another, such as resnet20_cifar")
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    return _kernel(vectors * np.sign(largest) / np.sqrt(values + eps)[None], channels)


def _kernel(filters: np.ndarray, channels: int) -> np.ndarray:
    """Return filters [4C,4C], one a column, as a kernel [2,2,C,8C] with their negatives."""
    both = np.concatenate([filters, -filters], axis=1)
    return both.reshape(PATCH, PATCH, channels, -1).astype(np.float32)


def patch_moments(images: np.ndarray) -> np.ndarray:
    """Return the means [4C,4C] of all products of two values of a 2x2 patch, over all patches of images [N,H,W,C]."""
    _, height, width, channels = images.shape
    size = PATCH * PATCH * channels
    total, count = np.zeros((size, size)), 0
    for start in range(0, len(images), CHUNK):
        chunk = np.asarray(images[start : start + CHUNK], np.float64)
        shifted = [
            chunk[:, i : height - PATCH + 1 + i, j : width - PATCH + 1 + j] for i in range(PATCH) for j in range(PATCH)
        ]
        patches = np.concatenate(shifted, axis=-1).reshape(-1, size)
        total += patches.T @ patches
        count += len(patches)
    return total / count


def whiten(variables: Any, images: np.ndarray, layer: str) -> Any:
    """Return the variables with the kernel of these images instead of the old one, on the same devices.

    Args:
        variables: of a network with a `WhiteningConv`; they are not changed.
        images: see `whitening_kernel`.
        layer: the name of that module.
    """
    batch_stats = variables["batch_stats"]
    kernel = jax.device_put(whitening_kernel(images), getattr(batch_stats[layer]["kernel"], "sharding", None))
    return {**variables, "batch_stats": {**batch_stats, layer: {**batch_stats[layer], "kernel": kernel}}}
