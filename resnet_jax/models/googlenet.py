"""GoogLeNet (Szegedy et al. 2015, arXiv:1409.4842) as torchvision has it: with BatchNorm, as in Inception v2."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from resnet_jax.layers.conv import Conv, he_normal_fan_out
from resnet_jax.layers.norm import BatchNorm
from resnet_jax.layers.pooling import adaptive_average_pool, flatten_channels_first, max_pool, refuse_empty


class ConvNormRelu(nn.Module):
    """A convolution, normalized, through a ReLU: [B,H,W,C] -> [B,H/strides,W/strides,filters]."""

    filters: int
    kernel_size: int
    conv: Callable
    norm: Callable
    strides: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.conv(self.filters, self.kernel_size, self.strides, name="conv")(x)
        return nn.relu(self.norm(name="norm")(x))


class Inception(nn.Module):
    """Four branches side by side: [B,H,W,C] -> [B,H,W,sum of their channels].

    Attributes:
        filters: of the 1x1 branch; of the 3x3 branch, before and after; of the "5x5" branch, before and after; of the
            pooled branch. The third branch is 3x3 in torchvision, by an old slip that its weights were trained with.
        unit: `ConvNormRelu` with its `conv` and `norm`.
    """

    filters: tuple[int, int, int, int, int, int]
    unit: Callable

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        one, three_in, three, five_in, five, pool = self.filters
        branches = (
            self.unit(one, 1, name="branch1")(x),
            self.unit(three, 3, name="branch2_conv2")(self.unit(three_in, 1, name="branch2_conv1")(x)),
            self.unit(five, 3, name="branch3_conv2")(self.unit(five_in, 1, name="branch3_conv1")(x)),
            self.unit(pool, 1, name="branch4")(max_pool(x, strides=1)),
        )
        return jnp.concatenate(branches, axis=-1)


class AuxiliaryHead(nn.Module):
    """A classifier on an inner stage, which gives the layers before it a direct gradient.

    [B,H,W,C] -> float32 logits [B,K].
    """

    num_classes: int
    unit: Callable
    dropout: Callable
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = flatten_channels_first(self.unit(128, 1, name="conv1")(adaptive_average_pool(x, 4)))
        dense = partial(nn.Dense, param_dtype=self.param_dtype)
        x = nn.relu(dense(1024, dtype=self.dtype, kernel_init=he_normal_fan_out, name="dense1")(x))
        x = self.dropout()(x).astype(jnp.float32)
        return dense(self.num_classes, kernel_init=nn.initializers.normal(0.01), name="dense2")(x)


class GoogLeNet(nn.Module):
    """GoogLeNet: images [B,H,W,3] -> float32 logits [B,K].

    In training the auxiliary heads run too, and `features=True` returns their logits as "aux1" and "aux2" for the loss:
    the paper and torchvision add their cross-entropies with a weight of 0.3 each. In evaluation they do not run.

    Attributes:
        num_classes: K; 0 builds no heads and returns the pooled values [B,C] (a backbone).
        aux_heads: build the two auxiliary heads; they have 6.4M of 13.0M parameters, and a trained network does
            not need them.
        dropout: probability with which a pooled value is zeroed in training. Draws from the "dropout" key.
        aux_dropout: the same in the auxiliary heads.
        aux_weight: of the auxiliary heads' cross-entropy in the loss; the network itself does not use it.
        bn_group_size: examples normalized together; 0 is the whole global batch.
        dtype: type of the computation; parameters, statistics and logits are float32 under every choice.
        param_dtype: type in which parameters are stored.
    """

    num_classes: int = 1000
    aux_heads: bool = True
    dropout: float = 0.2
    aux_dropout: float = 0.7
    aux_weight: float = 0.3
    bn_group_size: int = 0
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False, features: bool = False):
        """Return logits [B,K]; with `features`, a dict of "stem", "stage1", …, "pooled" and "logits"."""
        unit = partial(
            ConvNormRelu,
            conv=partial(Conv, dtype=self.dtype, param_dtype=self.param_dtype),
            norm=partial(
                BatchNorm,
                use_running_average=not train,
                group_size=self.bn_group_size,
                epsilon=1e-3,
                dtype=self.dtype,
                param_dtype=self.param_dtype,
            ),
        )
        dropout = partial(nn.Dropout, deterministic=not train)
        halve = partial(max_pool, padding=0, ceil=True)
        outputs = {}
        x = outputs["stem"] = unit(64, 7, strides=2, name="stem")(images)
        x = halve(x)
        refuse_empty(*x.shape[1:3])
        x = unit(64, 1, name="stage1_conv1")(x)
        x = outputs["stage1"] = unit(192, 3, name="stage1_conv2")(x)
        for stage, blocks in INCEPTIONS.items():
            x = halve(x, size=2 if stage == "stage4" else 3)
            refuse_empty(*x.shape[1:3])
            for index, filters in enumerate(blocks, start=1):
                name = f"{stage}_block{index:02d}"
                x = Inception(filters, unit, name=name)(x)
                # Initialization builds the heads in evaluation too: their parameters do not depend on `train`.
                if self.aux_heads and self.num_classes and name in AUXILIARY and (train or self.is_initializing()):
                    aux_dropout = partial(dropout, self.aux_dropout)
                    head = AuxiliaryHead(
                        self.num_classes, unit, aux_dropout, self.dtype, self.param_dtype, name=AUXILIARY[name]
                    )
                    outputs[AUXILIARY[name]] = head(x)
            outputs[stage] = x
        pooled = outputs["pooled"] = x.astype(jnp.float32).mean(axis=(1, 2))
        if not self.num_classes:
            return outputs if features else pooled
        logits = outputs["logits"] = nn.Dense(
            self.num_classes,
            kernel_init=nn.initializers.normal(0.01),
            param_dtype=self.param_dtype,
            name="head",
        )(dropout(self.dropout)(pooled))
        return outputs if features else logits


# The paper's table 1; 3a is the first block of stage 2.
INCEPTIONS = {
    "stage2": ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    "stage3": (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    "stage4": ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
}
AUXILIARY = {"stage3_block01": "aux1", "stage3_block04": "aux2"}

MODELS: dict[str, Callable[..., nn.Module]] = {"googlenet": GoogLeNet}
