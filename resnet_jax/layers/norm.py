"""Normalization: by batch, in groups of examples, or by groups of channels."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from resnet_jax.errors import InputError
from resnet_jax.ops.batch_norm import group_statistics, normalize, normalize_by_batch


class SingleValueError(InputError, ValueError):
    """Batch normalization, in training, of channels that have a single value each."""


class BatchNorm(nn.Module):
    """Batch normalization over the whole global batch, or over groups of `group_size` examples.

    The group is a setting and not an accident of topology: under `jit` a sharded batch is one batch, so
    `group_size=0` gives the same statistics on any number of devices, and `group_size=k` normalizes examples
    0..k-1, k..2k-1, … separately, wherever they live. Goyal et al. 2017 used 32.

    Statistics are float32 sums of x and x² in one pass over x, whatever `dtype` is. The running variance is the
    biased one (flax's convention; torch keeps the unbiased one, larger by n / (n - 1)), and `momentum` is the share
    that is kept (flax's 0.9 is torch's 0.1).

    With `frozen`, neither the statistics nor scale and bias ever change (fine-tuning, small batches). Without
    `use_scale` there is no scale to learn: outputs have variance 1 and the learned bias as their mean.

    Raises:
        ValueError: the batch is not a multiple of `group_size`.
        SingleValueError: in training a channel of a group is a single value (one example at 1x1 pixels): less its mean
            it is 0, whatever the image.
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
        scale, bias = scale.astype(jnp.float32), bias.astype(jnp.float32)

        if self.frozen:
            scale, bias = jax.lax.stop_gradient((scale, bias))
        if self.use_running_average or self.frozen:
            mean, var = running_mean.value[None], running_var.value[None]
            return normalize(x, mean, var, scale, bias, self.epsilon).astype(self.dtype)
        group_size = self.group_size or x.shape[0]
        y, mean, var = normalize_by_batch(x, scale, bias, group_size, self.epsilon, self.dtype)
        if not self.is_initializing():
            if group_size * math.prod(x.shape[1:-1]) == 1:
                raise SingleValueError(
                    f"normalization {'/'.join(self.path)}: expected more than 1 value per channel in training, "
                    f"got shape {x.shape} in groups of {group_size}"
                )
            keep = self.momentum
            running_mean.value = keep * running_mean.value + (1 - keep) * mean.mean(axis=0)
            running_var.value = keep * running_var.value + (1 - keep) * var.mean(axis=0)
        return y

    def normalize_by_running(self, x: jax.Array) -> jax.Array:
        """Return x [B,…,C] normalized by the running statistics, of a layer that has its variables."""
        mean, var = (self.get_variable("batch_stats", name) for name in ("mean", "var"))
        scale = self.get_variable("params", "scale") if self.use_scale else jnp.ones_like(mean)
        scale, bias = (values.astype(jnp.float32) for values in (scale, self.get_variable("params", "bias")))
        return normalize(x, mean[None], var[None], scale, bias, self.epsilon).astype(self.dtype)

    def statistics(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return mean and biased variance of each group of x [B,…,C], float32 [G,C]."""
        return group_statistics(x, self.group_size or x.shape[0])


GROUPS = 32  # of channels, as in BiT

NORMS: dict[str, Callable[..., nn.Module]] = {
    "batch": BatchNorm,
    "frozen": partial(BatchNorm, frozen=True),
    "group": partial(nn.GroupNorm, num_groups=GROUPS, epsilon=1e-5),
}


def norm_layer(name: str, train: bool, group_size: int, **types: Any) -> Callable[..., nn.Module]:
    """Return the normalization of that name in NORMS, set but for what is the layer's own (`name`, `scale_init`).

    Args:
        name: "batch", "frozen" or "group".
        train: normalize by the batch, and not by the running statistics.
        group_size: examples that "batch" normalizes together; 0 is the whole global batch.
        **types: `dtype` and `param_dtype`.
    """
    if name == "group":
        return partial(NORMS[name], **types)
    return partial(NORMS[name], use_running_average=not train, group_size=group_size, **types)
