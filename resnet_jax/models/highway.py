"""Highway networks (Srivastava et al. 2015, arXiv:1507.06228): y = H(x) T(x) + x (1 - T(x)).

The gate T mixes, for every value separately, the layer's output and its input; its bias starts negative, so that a new
network mostly copies its input. A residual network is this with both gates open.

The paper has layers, parameters (19 and 2.3M; 32 and 1.25M) and the gate, and refers to FitNet-4 for the rest. The
details here are those of the authors' Caffe network of 19 layers (github.com/flukeskywalker/highway-networks): three
stages that start with a plain convolution, 2x2 maximum pooling between them, dropout of 0.2 on the image, after each
pooling and before the head, a 1x1 convolution to 100 channels before the average, gates that are 3x3 convolutions, no
normalization. No more is published about the network of 32 layers: ours has nine gated layers a stage, and the widths
that give 1.25M parameters.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from resnet_jax.layers.conv import Conv
from resnet_jax.layers.pooling import max_pool, refuse_empty

# Caffe's "xavier", with which the authors start every convolution: uniform, variance 1 / fan_in.
caffe_xavier = nn.initializers.variance_scaling(1.0, "fan_in", "uniform")


class HighwayBlock(nn.Module):
    """One gated layer: [B,H,W,C] -> [B,H,W,C]."""

    conv: Callable
    gate_bias: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        filters = x.shape[-1]
        transformed = nn.relu(self.conv(filters, 3, name="conv1")(x))
        bias_init = nn.initializers.constant(self.gate_bias)
        gate = nn.sigmoid(self.conv(filters, 3, bias_init=bias_init, name="gate")(x))
        return transformed * gate + x * (1 - gate)


class Highway(nn.Module):
    """A highway network for small images: [B,H,W,3] -> float32 logits [B,K].

    Attributes:
        stage_sizes: gated layers in each stage, after its first convolution; every stage but the first halves the
            resolution.
        filters: of each stage.
        num_classes: K; 0 builds no head and returns the pooled values [B,C] (a backbone).
        gate_bias: initial value of the gates' biases; the paper has -1 to -4, lower for deeper networks.
        dropout: probability with which a value is zeroed in training, where listed above. Draws from the
            "dropout" key.
        dtype: type of the computation; parameters and logits are float32 under every choice.
        param_dtype: type in which parameters are stored.
    """

    stage_sizes: Sequence[int]
    filters: Sequence[int]
    num_classes: int = 10
    gate_bias: float = -2.0
    dropout: float = 0.2
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False, features: bool = False):
        """Return logits [B,K]; with `features`, a dict of "stem", "stage1", …, "pooled" and "logits".

        "stem" is the first convolution's output; "pooled" [B,100].
        """
        conv = partial(Conv, use_bias=True, kernel_init=caffe_xavier, dtype=self.dtype, param_dtype=self.param_dtype)
        dropout = nn.Dropout(self.dropout, deterministic=not train)
        outputs = {}
        x = images
        for stage, (size, filters) in enumerate(zip(self.stage_sizes, self.filters, strict=True), start=1):
            x = dropout(x if stage == 1 else max_pool(x, size=2, padding=0))
            x = nn.relu(conv(filters, 3, name="stem_conv" if stage == 1 else f"stage{stage}_conv")(x))
            if stage == 1:
                outputs["stem"] = x
            for index in range(size):
                x = HighwayBlock(conv, self.gate_bias, name=f"stage{stage}_block{index + 1:02d}")(x)
            outputs[f"stage{stage}"] = x
        if self.num_classes:
            refuse_empty(*x.shape[1:3])
        x = nn.relu(conv(100, 1, name="head_conv")(x))
        pooled = outputs["pooled"] = x.astype(jnp.float32).mean(axis=(1, 2))
        if not self.num_classes:
            return outputs if features else pooled
        logits = outputs["logits"] = nn.Dense(
            self.num_classes,
            kernel_init=nn.initializers.normal(0.05),
            param_dtype=self.param_dtype,
            name="head",
        )(dropout(pooled))
        return outputs if features else logits


MODELS: dict[str, Callable[..., nn.Module]] = {
    "highway19_cifar": partial(Highway, (4, 5, 5), (32, 80, 128)),
    "highway32_cifar": partial(Highway, (9, 9, 9), (32, 48, 64)),
}
