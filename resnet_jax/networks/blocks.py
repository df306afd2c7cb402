"""Residual blocks. A block receives its parts already settled and only arranges them.

`conv`, `norm` and `shortcut` are layers; `merge` joins shortcut and branch, as a rule by adding; `branch_end` is what
follows the last normalisation of the branch, by default nothing (channel attention, stochastic depth); with
`zero_last` the branch starts at zero. Each block maps [B,H,W,C] to [B,H/strides,W/strides,filters * expansion].

Where a stage trades its stride for dilation, the convolution that would have carried the stride still sees its input
at the old spacing, `dilation_before`, and those behind it see theirs at the new one, `dilation`: the values that the
strided block computes are then computed too, with others between them.
"""

from collections.abc import Callable
from typing import ClassVar

import jax
from flax import linen as nn

from resnet_jax.networks.attention import SelectiveKernel
from resnet_jax.networks.layers import blur_pool
from resnet_jax.networks.shortcuts import add


def last_scale(zero: bool) -> Callable:
    """Initialiser of the last normalisation scale of a branch."""
    return nn.initializers.zeros if zero else nn.initializers.ones


class BasicBlock(nn.Module):
    """Two 3x3 convolutions (He et al. 2015, figure 5 left). With `blur`, a blurred subsampling is the stride."""

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
    blur: bool = False
    expansion: ClassVar[int] = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        residual = self.shortcut(x, self.filters, self.strides, self.conv, self.norm)
        blur = self.blur and self.strides == 2
        y = self.conv(self.filters, 3, 1 if blur else self.strides, dilation=self.dilation_before, name="conv1")(x)
        y = nn.relu(self.norm(name="norm1")(y))
        if blur:
            y = blur_pool(y)
        y = self.conv(self.filters, 3, dilation=self.dilation, name="conv2")(y)
        y = self.branch_end(self.norm(name="norm2", scale_init=last_scale(self.zero_last))(y))
        return nn.relu(self.merge(x, residual, y))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions (He et al. 2015, figure 5 right).

    Attributes:
        stride_on_1x1: the paper's own form (v1); the default puts the stride on the 3x3 (v1.5, torchvision's), which
            costs 6 % more multiply-adds and is about half a point more accurate (published).
        groups: of the 3x3 (ResNeXt's cardinality).
        group_width: channels of the 3x3 in each group, at 64 filters; 128 in one group is Wide ResNet's.
        blur: a blurred subsampling is the stride.
        selective: a selective kernel takes the place of the 3x3.
    """

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
    stride_on_1x1: bool = False
    groups: int = 1
    group_width: int = 64
    blur: bool = False
    selective: bool = False
    expansion: ClassVar[int] = 4

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        first, second = (self.strides, 1) if self.stride_on_1x1 else (1, self.strides)
        dilation = self.dilation if self.stride_on_1x1 else self.dilation_before
        blur = self.blur and second == 2
        width = self.filters * self.group_width // 64 * self.groups
        residual = self.shortcut(x, self.filters * self.expansion, self.strides, self.conv, self.norm)
        y = self.conv(width, 1, first, name="conv1")(x)
        y = nn.relu(self.norm(name="norm1")(y))
        if self.selective:
            y = SelectiveKernel(width, second, conv=self.conv, norm=self.norm, name="conv2")(y)
        else:
            strides = 1 if blur else second
            y = self.conv(width, 3, strides, dilation=dilation, groups=self.groups, name="conv2")(y)
            y = nn.relu(self.norm(name="norm2")(y))
        if blur:
            y = blur_pool(y)
        y = self.conv(self.filters * self.expansion, 1, name="conv3")(y)
        y = self.branch_end(self.norm(name="norm3", scale_init=last_scale(self.zero_last))(y))
        return nn.relu(self.merge(x, residual, y))
