"""DenseNet (Huang et al. 2017, arXiv:1608.06993): every layer reads all layers before it in its stage.

Where a residual block adds to its input, a dense block appends to it: a stage that starts with C channels has
C + n * growth_rate after n blocks, and a transition between stages halves the resolution.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from resnet_jax.layers.conv import Conv
from resnet_jax.layers.norm import BatchNorm
from resnet_jax.layers.pooling import average_pool, max_pool
from resnet_jax.models.resnet.stems import STEMS


class DenseBlock(nn.Module):
    """A layer that appends `growth_rate` channels to its input: [B,H,W,C] -> [B,H,W,C + growth_rate].

    With `bottleneck`, a 1x1 convolution to `bottleneck * growth_rate` channels comes before the 3x3 (DenseNet-B).
    """

    growth_rate: int
    bottleneck: int
    conv: Callable
    norm: Callable
    dropout: Callable

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.relu(self.norm(name="norm1")(x))
        if self.bottleneck:
            y = self.dropout()(self.conv(self.bottleneck * self.growth_rate, 1, name="conv1")(y))
            y = nn.relu(self.norm(name="norm2")(y))
        y = self.conv(self.growth_rate, 3, name="conv2" if self.bottleneck else "conv1")(y)
        return jnp.concatenate([x, self.dropout()(y)], axis=-1)


class DenseNet(nn.Module):
    """A densely connected network: images [B,H,W,3] -> float32 logits [B,K].

    Attributes:
        stage_sizes: blocks in each stage; every stage but the first halves the resolution.
        growth_rate: channels that a block adds (k in the paper).
        num_classes: K; 0 builds no head and returns the pooled values [B,C] (a backbone).
        width: channels of the stem.
        stem: "imagenet" (7x7 at stride 2, then 3x3 maximum pooling at stride 2) or "cifar" (3x3 alone).
        bottleneck: width of the 1x1 convolution in every block as a multiple of `growth_rate`; 0 is none.
        compression: share of its channels that a transition keeps (theta in the paper).
        dropout: probability with which a value is zeroed in training, after every convolution but the stem's; the
            paper has 0.2 on CIFAR without augmentation. Draws from the "dropout" key.
        bn_group_size: examples normalized together; 0 is the whole global batch.
        dtype: type of the computation; parameters, statistics and logits are float32 under every choice.
        param_dtype: type in which parameters are stored.
    """

    stage_sizes: Sequence[int]
    growth_rate: int
    num_classes: int = 1000
    width: int = 64
    stem: str = "imagenet"
    bottleneck: int = 4
    compression: float = 0.5
    dropout: float = 0.0
    bn_group_size: int = 0
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False, features: bool = False):
        """Return logits [B,K]; with `features`, a dict of "stem", "stage1", …, "pooled" and "logits"."""
        conv = partial(Conv, dtype=self.dtype, param_dtype=self.param_dtype)
        norm = partial(
            BatchNorm,
            use_running_average=not train,
            group_size=self.bn_group_size,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        dropout = partial(nn.Dropout, self.dropout, deterministic=not train)
        block = partial(DenseBlock, self.growth_rate, self.bottleneck, conv=conv, norm=norm, dropout=dropout)
        stem = STEMS[self.stem]
        x = conv(self.width, stem.kernel_size, stem.strides, name="stem_conv")(images)
        if self.stem == "imagenet":
            x = nn.relu(norm(name="stem_norm")(x))
        outputs = {"stem": x}
        if self.stem == "imagenet":
            x = max_pool(x)
        for stage, size in enumerate(self.stage_sizes, start=1):
            for index in range(size):
                x = block(name=f"stage{stage}_block{index + 1:02d}")(x)
            outputs[f"stage{stage}"] = x
            if stage < len(self.stage_sizes):
                x = nn.relu(norm(name=f"transition{stage}_norm")(x))
                x = conv(int(x.shape[-1] * self.compression), 1, name=f"transition{stage}_conv")(x)
                x = average_pool(dropout()(x))
        x = nn.relu(norm(name="head_norm")(x))
        pooled = outputs["pooled"] = x.astype(jnp.float32).mean(axis=(1, 2))
        if not self.num_classes:
            return outputs if features else pooled
        logits = outputs["logits"] = nn.Dense(
            self.num_classes,
            kernel_init=nn.initializers.normal(0.01),
            param_dtype=self.param_dtype,
            name="head",
        )(pooled)
        return outputs if features else logits


def cifar_densenet(depth: int, growth_rate: int, *, compressed: bool, **options: Any) -> DenseNet:
    """Return the CIFAR network of `depth` layers (section 4.2): three stages of equally many blocks.

    `compressed` is DenseNet-BC: bottlenecks, transitions that halve the channels, and 2k channels in the stem instead
    of 16.

    Raises:
        ValueError: no network of three equal stages has that depth.
    """
    blocks, rest = divmod(depth - 4, 6 if compressed else 3)
    if rest or blocks < 1:
        raise ValueError(f"a CIFAR DenseNet has {'6n' if compressed else '3n'} + 4 layers, not {depth}")
    defaults: dict[str, Any] = {
        "num_classes": 10,
        "width": 2 * growth_rate if compressed else 16,
        "stem": "cifar",
        "bottleneck": 4 if compressed else 0,
        "compression": 0.5 if compressed else 1.0,
    }
    return DenseNet((blocks,) * 3, growth_rate, **(defaults | options))


MODELS: dict[str, Callable[..., nn.Module]] = {
    "densenet121": partial(DenseNet, (6, 12, 24, 16), 32),
    "densenet161": partial(DenseNet, (6, 12, 36, 24), 48, width=96),
    "densenet169": partial(DenseNet, (6, 12, 32, 32), 32),
    "densenet201": partial(DenseNet, (6, 12, 48, 32), 32),
    "densenet40_cifar": partial(cifar_densenet, 40, 12, compressed=False),
    "densenet100bc_cifar": partial(cifar_densenet, 100, 12, compressed=True),
}
