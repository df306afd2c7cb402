"""Residual blocks. A block receives its parts already settled and only arranges them.

`conv`, `norm` and `shortcut` are layers; `merge` joins shortcut and branch, as a rule by adding; `branch_end` is what
follows the last normalization of the branch, by default nothing (channel attention, stochastic depth); with
`zero_last` the branch starts at zero. Each block maps [B,H,W,C] to [B,H/strides,W/strides,filters * expansion].

Where a stage trades its stride for dilation, the convolution that would have carried the stride still sees its input
at the old spacing, `dilation_before`, and those behind it see theirs at the new one, `dilation`: the values that the
strided block computes are then computed too, with others between them.

Pre-activation blocks (He et al. 2016, arXiv:1603.05027) normalize and rectify before each convolution. What is added is
never rectified, so that an identity shortcut carries the signal unchanged through the whole network. Where the shape
changes, shortcut and branch read the same activated input.
"""

from collections.abc import Callable
from typing import ClassVar

import jax
from flax import linen as nn

from resnet_jax.layers.attention import SelectiveKernel
from resnet_jax.layers.conv import he_normal_fan_out
from resnet_jax.layers.pooling import blur_pool
from resnet_jax.models.resnet.shortcuts import add


def last_scale(zero: bool) -> Callable:
    """Initializer of the last normalization scale of a branch."""
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


def last_kernel(zero: bool) -> Callable:
    """Initializer of a branch's last convolution: behind it there is no scale that could be zero.

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


class ReorderedBlock(nn.Module):
    """A basic block with its activations in another order; the interface is that of `blocks.py`.

    Attributes:
        order: "norm_after_add" (8.17 % error, published, CIFAR-10, 110 layers), "relu_before_add" (7.84 %), or
            "relu_first", pre-activation by ReLU alone (6.71 %).
    """

    filters: int
    strides: int
    conv: Callable
    norm: Callable
    shortcut: Callable
    merge: Callable
    order: str
    branch_end: Callable = lambda y: y
    dilation_before: int = 1
    dilation: int = 1
    zero_last: bool = False
    expansion: ClassVar[int] = 1

    def __post_init__(self):
        if self.zero_last and self.order != "relu_first":
            raise ValueError(f"zero_init: a ReLU behind the zeros of {self.order} would keep them zero for ever")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        last_norm = self.norm(
            name="norm2", scale_init=nn.initializers.zeros if self.zero_last else nn.initializers.ones
        )
        residual = self.shortcut(x, self.filters, self.strides, self.conv, self.norm)
        y = nn.relu(x) if self.order == "relu_first" else x
        y = self.conv(self.filters, 3, self.strides, dilation=self.dilation_before, name="conv1")(y)
        y = nn.relu(self.norm(name="norm1")(y))
        y = self.conv(self.filters, 3, dilation=self.dilation, name="conv2")(y)
        if self.order == "norm_after_add":
            return nn.relu(last_norm(self.merge(x, residual, self.branch_end(y))))
        y = self.branch_end(last_norm(y))
        return self.merge(x, residual, nn.relu(y) if self.order == "relu_before_add" else y)
