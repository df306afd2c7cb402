"""The convolution of every network, with torch's geometry."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from resnet_jax.layers.blurring import binomial_blur
from resnet_jax.ops.convolution import convolve

# He et al. 2015 ("Delving deep into rectifiers"): variance 2 / fan_out keeps gradients level through ReLU layers.
he_normal_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class Conv(nn.Module):
    """A square convolution: [B,H,W,C] -> [B,H/strides,W/strides,features].

    The padding is explicit and the same on every side, as in torch: `SAME` would pad only the far side at stride 2,
    and converted weights would compute other numbers.

    Attributes:
        features: output channels.
        kernel_size: pixels a side.
        strides: pixels of the input per pixel of the output.
        padding: zeros on every side; None keeps the size at stride 1: `dilation * (kernel_size - 1) // 2`.
        dilation: distance of the input pixels that neighboring kernel values read.
        groups: each group of output channels reads its own group of input channels (ResNeXt).
        standardize: normalize the kernel of every output channel to mean 0 and variance 1 before it is applied (weight
            standardization, Qiao et al. 2019), for normalizations that do not use the batch.
        blur: where the layer strides over 16 channels or more, blur its input first (ffcv's BlurPoolConv2d).
        use_bias: add a learned bias.
        kernel_init: initializer of the kernel [kernel_size,kernel_size,C/groups,features].
        bias_init: initializer of the bias [features].
        dtype: type of the computation and of the output.
        param_dtype: type in which parameters are stored.
    """

    features: int
    kernel_size: int
    strides: int = 1
    padding: int | None = None
    dilation: int = 1
    groups: int = 1
    standardize: bool = False
    blur: bool = False
    use_bias: bool = False
    kernel_init: Callable = he_normal_fan_out
    bias_init: Callable = nn.initializers.zeros
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        k = self.kernel_size
        pad = self.dilation * (k - 1) // 2 if self.padding is None else self.padding
        inputs = x.shape[-1] // self.groups
        kernel = self.param("kernel", self.kernel_init, (k, k, inputs, self.features), self.param_dtype)
        if self.standardize:
            mean, var = (f(kernel, axis=(0, 1, 2), keepdims=True) for f in (jnp.mean, jnp.var))
            kernel = (kernel - mean) * jax.lax.rsqrt(var + 1e-8)
        if self.blur and self.strides > 1 and x.shape[-1] >= 16:
            x = binomial_blur(x)
        y = convolve(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            strides=self.strides,
            padding=pad,
            dilation=self.dilation,
            groups=self.groups,
        )
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype)
            y = y + bias.astype(self.dtype).reshape(1, 1, 1, -1)
        return y
