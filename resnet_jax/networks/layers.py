"""The layers every network is built from, with torch's geometry and float32 where it matters."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from resnet_jax.networks.convolution import convolve
from resnet_jax.networks.max_pool import window_max

# He et al. 2015 ("Delving deep into rectifiers"): variance 2 / fan_out keeps gradients level through ReLU layers.
he_normal_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class Conv(nn.Module):
    """A square convolution: [B,H,W,C] -> [B,H/strides,W/strides,features].

    The padding is explicit and the same on every side, as in torch: `SAME` would pad only the far side at stride 2,
    and converted weights would give other numbers. `padding=None` is what keeps the size at stride 1,
    `dilation * (kernel_size - 1) // 2`.

    Attributes:
        groups: each group of output channels reads its own group of input channels (ResNeXt).
        standardise: the kernel of every output channel is brought to mean 0 and variance 1 before it is applied
            (weight standardisation, Qiao et al. 2019), for normalisations that do not see the batch.
        blur: where the layer strides over 16 channels or more, its input is blurred first (ffcv's BlurPoolConv2d).
    """

    features: int
    kernel_size: int
    strides: int = 1
    padding: int | None = None
    dilation: int = 1
    groups: int = 1
    standardise: bool = False
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
        if self.standardise:
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


class BatchNorm(nn.Module):
    """Batch normalisation over the whole global batch, or over groups of `group_size` examples.

    The group is a setting and not an accident of topology: under `jit` a sharded batch is one batch, so
    `group_size=0` gives the same statistics on any number of devices, and `group_size=k` normalises examples
    0..k-1, k..2k-1, … separately, wherever they live. Goyal et al. 2017 used 32.

    Statistics are float32 sums of x and x² in one pass over x, whatever `dtype` is. The running variance is the
    biased one (flax's convention; torch keeps the unbiased one, larger by n / (n - 1)), and `momentum` is the share
    that is kept (flax's 0.9 is torch's 0.1).

    With `frozen`, neither the statistics nor scale and bias ever change (fine-tuning, small batches). Without
    `use_scale` there is no scale to learn: values leave with variance 1 and the learned bias for a mean.

    Raises:
        ValueError: the batch is not a multiple of `group_size`.
    """

    use_running_average: bool
    group_size: int = 0
    frozen: bool = False
    use_scale: bool = True
    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    scale_init: Callable = nn.initializers.ones

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,), jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, (channels,), jnp.float32)
        ones = jnp.ones((channels,), jnp.float32)
        scale = self.param("scale", self.scale_init, (channels,), self.param_dtype) if self.use_scale else ones
        bias = self.param("bias", nn.initializers.zeros, (channels,), self.param_dtype)

        if self.frozen:
            scale, bias = jax.lax.stop_gradient((scale, bias))
        if self.use_running_average or self.frozen:
            mean, var = running_mean.value[None], running_var.value[None]
        else:
            mean, var = group_statistics(x, self.group_size or x.shape[0])
            if not self.is_initializing():
                keep = self.momentum
                running_mean.value = keep * running_mean.value + (1 - keep) * mean.mean(axis=0)
                running_var.value = keep * running_var.value + (1 - keep) * var.mean(axis=0)

        groups = mean.shape[0]
        multiplier = jax.lax.rsqrt(var + self.epsilon) * scale.astype(jnp.float32)[None]
        per_channel = (groups, *(1,) * (x.ndim - 1), channels)
        grouped = x.reshape(groups, x.shape[0] // groups, *x.shape[1:]).astype(jnp.float32)
        y = (grouped - mean.reshape(per_channel)) * multiplier.reshape(per_channel)
        y = y + bias.astype(jnp.float32).reshape((1,) * x.ndim + (channels,))
        return y.reshape(x.shape).astype(self.dtype)


# One pass over x computes the variance as a difference of two large numbers. Of few values, such as one pooled value an
# image (selective kernels), the difference can be lost in rounding, and a second pass costs nothing.
FEW = 256


def group_statistics(x: jax.Array, group_size: int) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance [B / group_size, C], in float32, of each group of consecutive examples of x [B,…,C]."""
    batch, channels = x.shape[0], x.shape[-1]
    if batch % group_size:
        raise ValueError(f"a batch of {batch} examples cannot be normalised in groups of {group_size}")
    grouped = x.reshape(batch // group_size, -1, channels).astype(jnp.float32)
    mean = grouped.mean(axis=1)
    if grouped.shape[1] <= FEW:
        return mean, jnp.square(grouped - mean[:, None]).mean(axis=1)
    return mean, jnp.maximum(jnp.square(grouped).mean(axis=1) - jnp.square(mean), 0.0)


def max_pool(x: jax.Array, size: int = 3, strides: int = 2, padding: int = 1, ceil: bool = False) -> jax.Array:
    """Maximum over windows, padded with -inf on every side as in torch: [B,H,W,C] -> [B,H/strides,W/strides,C].

    With `ceil` a last window that starts inside the image and overhangs it counts as well (torch's `ceil_mode`).
    """

    def pads(length: int) -> tuple[int, int]:
        rest = (length + 2 * padding - size) % strides
        overhang = strides - rest if ceil and rest else 0
        starts_inside = length + padding + overhang - size < length
        return padding, padding + (overhang if starts_inside else 0)

    return window_max(x, size, strides, (pads(x.shape[1]), pads(x.shape[2])))


def adaptive_average_pool(x: jax.Array, size: int) -> jax.Array:
    """Averages over a grid of size x size windows, torch's way: [B,H,W,C] -> [B,size,size,C].

    Window i covers floor(i H / size) up to ceil((i + 1) H / size), so that neighbours overlap where `size` does not
    divide H, and repeat where H is the smaller.
    """
    for axis in (1, 2):
        length = x.shape[axis]
        windows = [(i * length // size, -(-(i + 1) * length // size)) for i in range(size)]
        means = [jax.lax.slice_in_dim(x, start, stop, axis=axis).mean(axis) for start, stop in windows]
        x = jnp.stack(means, axis)
    return x


def flatten_channels_first(x: jax.Array) -> jax.Array:
    """[B,H,W,C] -> [B,C*H*W], channels outermost: the order in which torch's dense layers after convolutions count."""
    return x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)


def resize_bilinear(x: jax.Array, height: int, width: int) -> jax.Array:
    """[B,H,W,C] -> [B,height,width,C] between pixel centres, without antialiasing (torch's `align_corners=False`)."""
    if x.shape[1:3] == (height, width):
        return x
    return jax.image.resize(x, (x.shape[0], height, width, x.shape[-1]), "bilinear", antialias=False)


def binomial_blur(x: jax.Array) -> jax.Array:
    """X [B,H,W,C] through the binomial filter 1 2 1 in both directions, zeros beyond the edges."""
    for axis in (1, 2):
        margins = [(1, 1) if a == axis else (0, 0) for a in range(4)]
        before, here, after = (
            jax.lax.slice_in_dim(jnp.pad(x, margins), start, start + x.shape[axis], axis=axis) for start in range(3)
        )
        x = before / 4 + here / 2 + after / 4  # sums of shifted copies: grouped convolutions are slow on CPUs
    return x


def blur_pool(x: jax.Array) -> jax.Array:
    """[B,H,W,C] -> [B,H/2,W/2,C], each channel through the binomial filter 1 2 1, reflected at the edges.

    Zhang 2019 (arXiv:1904.11486): to subsample without aliasing, so that a shifted image gives shifted features.
    """
    channels = x.shape[-1]
    line = jnp.array([1, 2, 1], x.dtype) / 4
    kernel = jnp.broadcast_to(jnp.outer(line, line)[:, :, None, None], (3, 3, 1, channels))
    return jax.lax.conv_general_dilated(
        jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect"),
        kernel,
        window_strides=(2, 2),
        padding="VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=channels,
    )


class StochasticDepth(nn.Module):
    """In training, zeroes whole examples of x [B,…] with probability `rate`, and scales up the others.

       Huang et al. 2016, arXiv:1603.09382.
    At the end of a residual branch this leaves out the block. Draws from the "dropout" key. Inside a loop over blocks
    the rate is a traced scalar.
    """

    rate: float | jax.Array
    deterministic: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.deterministic or (not isinstance(self.rate, jax.Array) and not self.rate):
            return x
        keep = 1.0 - self.rate
        kept = jax.random.bernoulli(self.make_rng("dropout"), keep, (x.shape[0],) + (1,) * (x.ndim - 1))
        return jnp.where(kept, x / jnp.asarray(keep, x.dtype), jnp.zeros_like(x))
