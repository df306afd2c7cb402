"""Stems, the layers before the first stage: one or three convolutions, and a pooling or none."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import linen as nn

from resnet_jax.layers.blurring import blur_pool
from resnet_jax.layers.pooling import max_pool


@dataclass(frozen=True)
class Stem:
    """A stem's geometry.

    Attributes:
        kernel_size: of the first convolution.
        strides: of the first convolution.
        hidden: channels of the convolutions before the last one; empty for a single convolution.
        pool: "max" (3x3 at stride 2), "conv" (a 3x3 convolution at stride 2 instead), "zero_padded_max" (padded with
            zeros, as in BiT), or "" for none.
    """

    kernel_size: int
    strides: int
    hidden: tuple[int, ...] = ()
    pool: str = "max"

    @property
    def total_stride(self) -> int:
        """Pixels of the image per pixel of the first stage."""
        return self.strides * (2 if self.pool else 1)


STEMS = {
    "imagenet": Stem(7, 2),
    "cifar": Stem(3, 1, pool=""),
    "deep": Stem(3, 2, hidden=(32, 32)),  # ResNet-C and D
    "tiered": Stem(3, 2, hidden=(24, 32)),  # timm's ResNet-T
    "deep_conv": Stem(3, 2, hidden=(32, 32), pool="conv"),  # ResNet-RS
    "bit": Stem(7, 2, pool="zero_padded_max"),
}


def apply_stem(images: jax.Array, stem: Stem, width: int, conv: Callable, norm: Callable) -> jax.Array:
    """Apply the convolutions, without the last normalization: [B,H,W,3] -> [B,H/strides,W/strides,width]."""
    if not stem.hidden:
        return conv(width, stem.kernel_size, stem.strides, name="stem_conv")(images)
    x, strides = images, stem.strides
    for index, channels in enumerate(stem.hidden, start=1):
        x = conv(channels, stem.kernel_size, strides, name=f"stem_conv{index}")(x)
        x, strides = nn.relu(norm(name=f"stem_norm{index}")(x)), 1
    return conv(width, stem.kernel_size, name=f"stem_conv{len(stem.hidden) + 1}")(x)


def pool_stem(x: jax.Array, stem: Stem, conv: Callable, norm: Callable, blur: bool) -> jax.Array:
    """Apply the pooling, if any: [B,H,W,C] -> [B,H/2,W/2,C]. `blur` subsamples the maximum with a blur."""
    if not stem.pool:
        return x
    if stem.pool == "conv":
        x = conv(x.shape[-1], 3, 2, name="stem_pool_conv")(x)
        return nn.relu(norm(name="stem_pool_norm")(x))
    if stem.pool == "zero_padded_max":
        return max_pool(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), padding=0)
    return blur_pool(max_pool(x, strides=1)) if blur else max_pool(x)
