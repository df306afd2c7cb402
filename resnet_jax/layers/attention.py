"""Channel attention: weights of the channels, computed from the whole image."""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn


class SqueezeExcite(nn.Module):
    """Channel weights from two dense layers on the channels' means (Hu et al. 2018): [B,H,W,C] -> [B,H,W,C].

    The dense layers are 1x1 convolutions, as in the weights that are in circulation.
    """

    conv: Callable
    ratio: float = 1 / 16

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        y = x.mean(axis=(1, 2), keepdims=True)
        y = nn.relu(self.conv(divisible(channels * self.ratio), 1, use_bias=True, name="fc1")(y))
        return x * nn.sigmoid(self.conv(channels, 1, use_bias=True, name="fc2")(y))


class EfficientChannelAttention(nn.Module):
    """Channel weights from a convolution along the channels (Wang et al. 2020): [B,H,W,C] -> [B,H,W,C].

    Its width grows with the logarithm of C: 3 for 64 channels, 7 for 2,048. Its kernel is stored in float32. `conv`,
    which every kind of attention is given, is not used.
    """

    conv: Callable

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = int(abs(math.log2(x.shape[-1]) + 1) / 2)
        width = max(width if width % 2 else width + 1, 3)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (width, 1, 1), jnp.float32)
        means = x.mean(axis=(1, 2))[:, :, None]
        pad = width // 2
        weights = jax.lax.conv_general_dilated(
            means, kernel.astype(x.dtype), (1,), ((pad, pad),), dimension_numbers=("NWC", "WIO", "NWC")
        )
        return x * nn.sigmoid(weights).reshape(x.shape[0], 1, 1, x.shape[-1])


class SelectiveKernel(nn.Module):
    """Two 3x3 convolutions, one dilated, mixed by weights computed from the image (Li et al. 2019).

    [B,H,W,C] -> [B,H/strides,W/strides,features]; each convolution reads half of the input channels. The first reads
    pixels `dilation` apart, the second twice as far.
    """

    features: int
    strides: int
    dilation: int
    conv: Callable
    norm: Callable

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        halves = jnp.split(x, 2, axis=-1)
        paths = []
        for index, half in enumerate(halves, start=1):
            y = self.conv(self.features, 3, self.strides, dilation=index * self.dilation, name=f"path{index}_conv")(
                half
            )
            paths.append(nn.relu(self.norm(name=f"path{index}_norm")(y)))
        y = (paths[0] + paths[1]).mean(axis=(1, 2), keepdims=True)
        y = self.conv(divisible(self.features / 16), 1, name="reduce_conv")(y)
        y = nn.relu(self.norm(name="reduce_norm")(y))
        scores = self.conv(2 * self.features, 1, name="select_conv")(y)
        weights = nn.softmax(scores.reshape(x.shape[0], 1, 1, 2, self.features), axis=3)
        first, second = (jax.lax.index_in_dim(weights, path, axis=3, keepdims=False) for path in (0, 1))
        return paths[0] * first + paths[1] * second


def divisible(value: float, divisor: int = 8) -> int:
    """Return the multiple of `divisor` nearest to a number of channels, at least `divisor`."""
    return max(divisor, int(value + divisor / 2) // divisor * divisor)


# By name; a block makes its layer with `conv`. "" is none.
ATTENTION: dict[str, Callable[..., nn.Module] | None] = {
    "": None,
    "se": SqueezeExcite,
    "se4": partial(SqueezeExcite, ratio=1 / 4),
    "eca": EfficientChannelAttention,
}
