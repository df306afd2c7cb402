"""The CIFAR-10 networks of airbench (Jordan 2024, arXiv:2404.00498): 94 % in ten epochs, 96 % in 37 (published).

A 2x2 whitening convolution computed from the images, three groups of convolutions with maximum pooling, normalization
without a scale, and a head whose logits are divided by 9. Every 3x3 convolution starts as the identity on its first
channels, so that a new network copies the image, as a residual one does with its shortcuts.

Three things are left to the training. A run begins with `model.whiten(variables, images)`. The reference trains the
whitening's bias ("stem_conv/bias") for three epochs and keeps it from then on, and uses 64 times the learning rate for
the normalizations' biases ("stage1/norm1/bias" and so on).

Torch's parameter counts are larger by what is not trained: the whitening kernel and the scales that stay 1.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from resnet_jax.errors import InputError
from resnet_jax.layers.conv import Conv
from resnet_jax.layers.norm import BatchNorm
from resnet_jax.layers.pooling import max_pool
from resnet_jax.layers.whitening import WhiteningConv, whiten

gelu = partial(nn.gelu, approximate=False)  # torch's default, by the error function

# Torch's default for dense layers and convolutions: uniform within 1 / sqrt(fan_in), variance 1 / (3 fan_in).
torch_uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def partial_identity(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
    """Return a kernel [k,k,C,D], k odd, whose first C filters copy channel c to channel c; the rest is torch's default.

    With fewer filters than channels, all D copy their channel.
    """
    height, width, inputs, _ = shape
    kernel = torch_uniform(key, shape, dtype)
    identity = jnp.eye(inputs, shape[-1], dtype=dtype)[:, :inputs]
    return kernel.at[..., :inputs].set(0).at[height // 2, width // 2, :, :inputs].set(identity)


class ConvGroup(nn.Module):
    """Two or three convolutions at half the resolution: [B,H,W,C] -> [B,H/2,W/2,filters].

    With `residual`, a third convolution follows the second, and a shortcut runs beside both.
    """

    filters: int
    residual: bool
    conv: Callable
    norm: Callable

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = max_pool(self.conv(self.filters, name="conv1")(x), size=2, padding=0)
        x = gelu(self.norm(name="norm1")(x))
        y = self.norm(name="norm2")(self.conv(self.filters, name="conv2")(x))
        if self.residual:
            y = x + self.norm(name="norm3")(self.conv(self.filters, name="conv3")(gelu(y)))
        return gelu(y)


class Airbench(nn.Module):
    """A network of airbench: images [B,H,W,3] of at least 9 pixels a side -> float32 logits [B,K].

    Attributes:
        widths: filters of the three groups.
        num_classes: K; 0 builds no head and returns the pooled values [B,C] (a backbone).
        residual: three convolutions a group with a shortcut (airbench96) instead of two.
        norm_momentum: share of the running statistics that a step keeps. The networks for 94 and 95 % have 0.6, because
            their training is a few hundred steps; in torch this is 0.4.
        bn_group_size: examples normalized together; 0 is the whole global batch.
        dtype: type of the computation; parameters, statistics and logits are float32 under every choice.
        param_dtype: type in which parameters are stored.
    """

    widths: Sequence[int]
    num_classes: int = 10
    residual: bool = False
    norm_momentum: float = 0.6
    bn_group_size: int = 0
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False, features: bool = False):
        """Return logits [B,K]; with `features`, a dict of "stem", "stage1", …, "pooled" and "logits".

        Raises:
            InputError: images of fewer than 9 pixels a side.
        """
        if min(images.shape[1:3]) < 9:
            raise InputError(f"--image_size={min(images.shape[1:3])}: this network needs images of 9 pixels or more")
        conv = partial(
            Conv, kernel_size=3, kernel_init=partial_identity, dtype=self.dtype, param_dtype=self.param_dtype
        )
        norm = partial(
            BatchNorm,
            use_running_average=not train,
            group_size=self.bn_group_size,
            use_scale=False,
            momentum=self.norm_momentum,
            epsilon=1e-12,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        outputs = {}
        x = outputs["stem"] = gelu(WhiteningConv(self.dtype, self.param_dtype, name="stem_conv")(images))
        for stage, filters in enumerate(self.widths, start=1):
            x = outputs[f"stage{stage}"] = ConvGroup(filters, self.residual, conv, norm, name=f"stage{stage}")(x)
        # At 32 pixels this is the 3x3 maximum pooling of the reference.
        pooled = outputs["pooled"] = x.astype(jnp.float32).max(axis=(1, 2))
        if not self.num_classes:
            return outputs if features else pooled
        head = nn.Dense(
            self.num_classes, use_bias=False, kernel_init=torch_uniform, param_dtype=self.param_dtype, name="head"
        )
        outputs["logits"] = head(pooled) / 9
        return outputs if features else outputs["logits"]

    def whiten(self, variables: Any, images: np.ndarray) -> Any:
        """Return the variables with the first layer computed from images [N,H,W,3], normalized and not augmented.

        The reference uses the first 5,000 of the training set.
        """
        return whiten(variables, images, "stem_conv")


MODELS: dict[str, Callable[..., nn.Module]] = {
    "airbench94_cifar": partial(Airbench, widths=(64, 256, 256)),
    "airbench95_cifar": partial(Airbench, widths=(128, 384, 384)),
    "airbench96_cifar": partial(Airbench, widths=(128, 384, 512), residual=True, norm_momentum=0.9),
}
