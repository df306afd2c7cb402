"""Pre-activation blocks (He et al. 2016, arXiv:1603.05027): normalise and rectify before each convolution.

What is added is never rectified, so that an identity shortcut carries the signal unchanged through the whole network.
Where the shape changes, shortcut and branch read the same activated input. The interface is that of `blocks.py`.
"""

from collections.abc import Callable
from typing import ClassVar

import jax
from flax import linen as nn

from resnet_jax.networks.layers import he_normal_fan_out
from resnet_jax.networks.shortcuts import add


def last_kernel(zero: bool) -> Callable:
    """Initialiser of a branch's last convolution: behind it there is no scale that could be zero.

    A zero scale before it would be zero for ever: ReLU passes no gradient back at zero.
    """
    return nn.initializers.zeros if zero else he_normal_fan_out


class PreActBasicBlock(nn.Module):
    """Two 3x3 convolutions."""

    filters: int
    strides: int
    conv: Callable
    norm: Callable
    shortcut: Callable
    merge: Callable = add
    branch_end: Callable = lambda y: y
    dilation_before: int = 1
    dilation: int = 1
    zero_last: bool = False
    expansion: ClassVar[int] = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        active = nn.relu(self.norm(name="norm1")(x))
        changes = self.strides > 1 or x.shape[-1] != self.filters
        residual = self.shortcut(active if changes else x, self.filters, self.strides, self.conv, self.norm)
        y = self.conv(self.filters, 3, self.strides, dilation=self.dilation_before, name="conv1")(active)
        y = nn.relu(self.norm(name="norm2")(y))
        y = self.branch_end(
            self.conv(self.filters, 3, dilation=self.dilation, kernel_init=last_kernel(self.zero_last), name="conv2")(y)
        )
        return self.merge(x, residual, y)


class PreActBottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions."""

    filters: int
    strides: int
    conv: Callable
    norm: Callable
    shortcut: Callable
    merge: Callable = add
    branch_end: Callable = lambda y: y
    dilation_before: int = 1
    dilation: int = 1
    zero_last: bool = False
    expansion: ClassVar[int] = 4

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        outputs = self.filters * self.expansion
        active = nn.relu(self.norm(name="norm1")(x))
        changes = self.strides > 1 or x.shape[-1] != outputs
        residual = self.shortcut(active if changes else x, outputs, self.strides, self.conv, self.norm)
        y = self.conv(self.filters, 1, name="conv1")(active)
        y = nn.relu(self.norm(name="norm2")(y))
        y = self.conv(self.filters, 3, self.strides, dilation=self.dilation_before, name="conv2")(y)
        y = nn.relu(self.norm(name="norm3")(y))
        y = self.branch_end(self.conv(outputs, 1, kernel_init=last_kernel(self.zero_last), name="conv3")(y))
        return self.merge(x, residual, y)
