"""VGG (Simonyan and Zisserman 2015, arXiv:1409.1556): nothing but 3x3 convolutions, with and without normalization."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from resnet_jax.layers.conv import Conv
from resnet_jax.layers.norm import BatchNorm
from resnet_jax.layers.pooling import adaptive_average_pool, flatten_channels_first, max_pool, refuse_empty
from resnet_jax.models.alexnet import DenseHead


class VGG(nn.Module):
    """A VGG network: images [B,H,W,3] of at least 32 pixels a side -> float32 logits [B,K].

    Attributes:
        stage_sizes: convolutions at each of the five resolutions, the image's own first.
        num_classes: K; 0 builds no dense layers and returns the pooled values [B,N] (a backbone).
        batch_norm: normalize after every convolution (torchvision's `_bn`; the paper has none).
        dropout: probability with which a value is zeroed after the hidden dense layers in training. Draws from the
            "dropout" key.
        bn_group_size: examples normalized together; 0 is the whole global batch.
        dtype: type of the computation; parameters, statistics and logits are float32 under every choice.
        param_dtype: type in which parameters are stored.
    """

    stage_sizes: Sequence[int]
    num_classes: int = 1000
    batch_norm: bool = False
    dropout: float = 0.5
    bn_group_size: int = 0
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False, features: bool = False):
        """Return logits [B,K]; with `features`, a dict of the last output at each resolution.

        "stem" (stride 1), "stage1" (2) to "stage4" (16), "pooled" [B,25088], "hidden" [B,4096] and "logits".
        """
        conv = partial(Conv, use_bias=True, dtype=self.dtype, param_dtype=self.param_dtype)
        norm = partial(
            BatchNorm,
            use_running_average=not train,
            group_size=self.bn_group_size,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        outputs = {}
        x = images
        for group, size, filters in zip(GROUPS, self.stage_sizes, FILTERS, strict=True):
            for index in range(1, size + 1):
                x = conv(filters, 3, name=f"{group}_conv{index}")(x)
                if self.batch_norm:
                    x = norm(name=f"{group}_norm{index}")(x)
                x = nn.relu(x)
            outputs[group] = x
            x = max_pool(x, size=2, padding=0)
        if self.num_classes:
            refuse_empty(*x.shape[1:3])
        outputs["pooled"] = flatten_channels_first(adaptive_average_pool(x, 7))
        if not self.num_classes:
            return outputs if features else outputs["pooled"]
        head = DenseHead(
            self.num_classes, self.dropout, train, self.dtype, self.param_dtype, dropout_first=False, name="head"
        )
        outputs["hidden"], outputs["logits"] = head(outputs["pooled"])
        return outputs if features else outputs["logits"]


GROUPS = ("stem", "stage1", "stage2", "stage3", "stage4")
FILTERS = (64, 128, 256, 512, 512)

# Configurations A, B, D and E of the paper's table 1.
SIZES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}

MODELS: dict[str, Callable[..., nn.Module]] = {
    **{f"vgg{d}": partial(VGG, sizes) for d, sizes in SIZES.items()},
    **{f"vgg{d}_bn": partial(VGG, sizes, batch_norm=True) for d, sizes in SIZES.items()},
}
