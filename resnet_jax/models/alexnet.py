"""AlexNet (Krizhevsky et al. 2012) as torchvision has it, after Krizhevsky 2014 (arXiv:1404.5997).

One tower without local response normalization; 61.1M parameters, of which 58.6M are in three dense layers.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from resnet_jax.layers.conv import Conv, he_normal_fan_out
from resnet_jax.layers.pooling import adaptive_average_pool, flatten_channels_first, max_pool, refuse_empty


class AlexNet(nn.Module):
    """AlexNet: images [B,H,W,3] of at least 63 pixels a side -> float32 logits [B,K].

    Attributes:
        num_classes: K; 0 builds no dense layers and returns the pooled values [B,N] (a backbone).
        dropout: probability with which a value is zeroed before the dense layers in training. Draws from the
            "dropout" key.
        dtype: type of the computation; parameters and logits are float32 under every choice.
        param_dtype: type in which parameters are stored.
    """

    num_classes: int = 1000
    dropout: float = 0.5
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False, features: bool = False):
        """Return logits [B,K]; with `features`, a dict of the last output at each resolution.

        "stem" (stride 4), "stage1" (8), "stage2" (16), "pooled" [B,9216], "hidden" [B,4096] and "logits".
        """
        conv = partial(Conv, use_bias=True, dtype=self.dtype, param_dtype=self.param_dtype)
        outputs = {}
        x = outputs["stem"] = nn.relu(conv(64, 11, 4, padding=2, name="stem_conv")(images))
        x = max_pool(x, padding=0)
        x = outputs["stage1"] = nn.relu(conv(192, 5, name="stage1_conv1")(x))
        x = max_pool(x, padding=0)
        for index, filters in enumerate((384, 256, 256), start=1):
            x = nn.relu(conv(filters, 3, name=f"stage2_conv{index}")(x))
        outputs["stage2"] = x
        x = max_pool(x, padding=0)
        if self.num_classes:
            refuse_empty(*x.shape[1:3])
        x = adaptive_average_pool(x, 6)
        outputs["pooled"] = flatten_channels_first(x)
        if not self.num_classes:
            return outputs if features else outputs["pooled"]
        head = DenseHead(self.num_classes, self.dropout, train, self.dtype, self.param_dtype, name="head")
        outputs["hidden"], outputs["logits"] = head(outputs["pooled"])
        return outputs if features else outputs["logits"]


class DenseHead(nn.Module):
    """Two hidden layers of 4096 with dropout and one of K: [B,N] -> the second hidden layer, float32 logits [B,K].

    Attributes:
        num_classes: K.
        dropout: probability of zeroing a value in training.
        train: whether this is training.
        dtype: type of the hidden layers' computation.
        param_dtype: type in which parameters are stored.
        dropout_first: drop before a dense layer (AlexNet) and not after its ReLU (VGG).
    """

    num_classes: int
    dropout: float
    train: bool
    dtype: Any
    param_dtype: Any
    dropout_first: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        dropout = nn.Dropout(self.dropout, deterministic=not self.train)
        dense = partial(nn.Dense, 4096, dtype=self.dtype, param_dtype=self.param_dtype, kernel_init=he_normal_fan_out)
        for name in ("dense1", "dense2"):
            x = dropout(x) if self.dropout_first else x
            x = nn.relu(dense(name=name)(x))
            x = x if self.dropout_first else dropout(x)
        logits = nn.Dense(
            self.num_classes,
            kernel_init=nn.initializers.normal(0.01),
            param_dtype=self.param_dtype,
            name="dense3",
        )(x.astype(jnp.float32))
        return x, logits


MODELS: dict[str, Callable[..., nn.Module]] = {"alexnet": AlexNet}
