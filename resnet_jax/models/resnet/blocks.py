"""Residual blocks: each arranges parts that the network has chosen.

Pre-activation blocks (He et al. 2016, arXiv:1603.05027) normalize and rectify before each convolution. What is added is
never rectified, so that an identity shortcut carries the signal unchanged through the whole network. Where the shape
changes, shortcut and branch read the same activated input.
"""

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import jax
from flax import linen as nn

from resnet_jax.layers.attention import SelectiveKernel
from resnet_jax.layers.blurring import blur, blur_pool
from resnet_jax.layers.conv import he_normal_fan_out
from resnet_jax.layers.stochastic_depth import StochasticDepth
from resnet_jax.models.resnet.shortcuts import add
from resnet_jax.ops.relu import relu


class ResidualBlock(nn.Module):
    """The fields that all blocks share: [B,H,W,C] -> [B,H/strides,W/strides,filters * expansion].

    Attributes:
        filters: channels of the 3x3 convolutions.
        strides: 1 or 2.
        conv, norm: layers, set but for shapes and names.
        shortcut, merge: functions in `shortcuts.SHORTCUTS` and `MERGES`, the latter with its `conv` and `train`.
        attention, drop: layers at the end of the branch: one in `attention.ATTENTION` or None, and stochastic depth.
        dilation_before: of the convolution that carries the stride. Where dilation replaces the stride, this one still
            reads its input at the old spacing, so that the strided block's values are among the dilated one's.
        dilation: of the convolutions after it.
        zero_last: start the branch at zero.
    """

    filters: int
    strides: int
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]
    shortcut: Callable[..., jax.Array | None]
    merge: Callable[..., jax.Array] = add
    attention: Callable[..., nn.Module] | None = None
    drop: Callable[..., nn.Module] = partial(StochasticDepth, 0.0, True)
    dilation_before: int = 1
    dilation: int = 1
    zero_last: bool = False
    expansion: ClassVar[int] = 1

    def apply_shortcut(self, x: jax.Array) -> jax.Array | None:
        return self.shortcut(x, self.filters * self.expansion, self.strides, self.conv, self.norm, self.spacing())

    @nn.nowrap
    def spacing(self) -> int:
        """Return the distance of the pixels that were neighbors where dilation replaces this block's stride; else 0."""
        return self.dilation_before if self.strides == 1 and self.dilation > self.dilation_before else 0

    def subsample_blurred(self, y: jax.Array) -> jax.Array:
        """Return y blurred, and subsampled but where dilation replaces the stride."""
        return blur(y, self.spacing()) if self.spacing() else blur_pool(y)

    def preactivate(self, x: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        """Return x normalized and rectified, and the shortcut, which reads the same where the shape changes."""
        active = nn.relu(self.norm(name="norm1")(x))
        changes = self.strides > 1 or x.shape[-1] != self.filters * self.expansion
        return active, self.apply_shortcut(active if changes else x)

    def finish_branch(self, y: jax.Array) -> jax.Array:
        """Apply what ends every branch: channel attention, if any, and stochastic depth."""
        if self.attention is not None:
            y = self.attention(conv=self.conv, name="attention")(y)
        return self.drop(name="drop")(y)

    def last_init(self, usual: Callable) -> Callable:
        """Return the initializer of the branch's last scale, or of its last kernel where no scale comes after it."""
        # A zero scale before that kernel would be zero for ever: ReLU has no gradient at zero.
        return nn.initializers.zeros if self.zero_last else usual


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions (He et al. 2015, figure 5 left). With `blur`, a blurred subsampling is the stride."""

    blur: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        residual = self.apply_shortcut(x)
        blurs = self.blur and (self.strides == 2 or self.spacing())
        y = self.conv(self.filters, 3, 1 if blurs else self.strides, dilation=self.dilation_before, name="conv1")(x)
        y = nn.relu(self.norm(name="norm1")(y))
        y = self.subsample_blurred(y) if blurs else y
        y = self.conv(self.filters, 3, dilation=self.dilation, name="conv2")(y)
        y = self.norm(name="norm2", scale_init=self.last_init(nn.initializers.ones))(y)
        return relu(self.merge(x, residual, self.finish_branch(y)))


class Bottleneck(ResidualBlock):
    """1x1, 3x3, 1x1 convolutions (He et al. 2015, figure 5 right).

    Attributes:
        stride_on_1x1: the paper's own block (v1); the default puts the stride on the 3x3 (v1.5, torchvision's), which
            costs 6 % more multiply-adds and is about half a point more accurate (published).
        groups: of the 3x3 (ResNeXt's cardinality).
        group_width: channels of the 3x3 in each group, at 64 filters; 128 in one group is Wide ResNet's.
        blur: a blurred subsampling is the stride.
        selective: a selective kernel replaces the 3x3.
    """

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
        blurs = self.blur and not self.stride_on_1x1 and (self.strides == 2 or self.spacing())
        width = self.filters * self.group_width // 64 * self.groups
        if not width:
            raise ValueError(f"groups of {self.group_width} channels at width 64 have none at width {self.filters}")
        residual = self.apply_shortcut(x)
        y = nn.relu(self.norm(name="norm1")(self.conv(width, 1, first, name="conv1")(x)))
        if self.selective:
            y = SelectiveKernel(width, second, dilation, conv=self.conv, norm=self.norm, name="conv2")(y)
        else:
            grouped = partial(self.conv, dilation=dilation, groups=self.groups)
            y = nn.relu(self.norm(name="norm2")(grouped(width, 3, 1 if blurs else second, name="conv2")(y)))
        y = self.subsample_blurred(y) if blurs else y
        y = self.conv(self.filters * self.expansion, 1, name="conv3")(y)
        y = self.norm(name="norm3", scale_init=self.last_init(nn.initializers.ones))(y)
        return relu(self.merge(x, residual, self.finish_branch(y)))


class PreActBasicBlock(ResidualBlock):
    """Two 3x3 convolutions, each after a normalization and a ReLU."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        active, residual = self.preactivate(x)
        y = self.conv(self.filters, 3, self.strides, dilation=self.dilation_before, name="conv1")(active)
        y = nn.relu(self.norm(name="norm2")(y))
        kernel_init = self.last_init(he_normal_fan_out)
        y = self.conv(self.filters, 3, dilation=self.dilation, kernel_init=kernel_init, name="conv2")(y)
        return self.merge(x, residual, self.finish_branch(y))


class PreActBottleneck(ResidualBlock):
    """1x1, 3x3, 1x1 convolutions, each after a normalization and a ReLU."""

    expansion: ClassVar[int] = 4

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        active, residual = self.preactivate(x)
        y = nn.relu(self.norm(name="norm2")(self.conv(self.filters, 1, name="conv1")(active)))
        y = self.conv(self.filters, 3, self.strides, dilation=self.dilation_before, name="conv2")(y)
        y = nn.relu(self.norm(name="norm3")(y))
        kernel_init = self.last_init(he_normal_fan_out)
        y = self.conv(self.filters * self.expansion, 1, kernel_init=kernel_init, name="conv3")(y)
        return self.merge(x, residual, self.finish_branch(y))


def refuse_zeros(order: str, zero_init: bool) -> None:
    """Refuse a branch that starts at zero in an order in which it would stay there.

    Raises:
        ValueError: it would.
    """
    if zero_init and order != "relu_first":
        raise ValueError(f"zero_init: a ReLU after the zeros of {order} would keep them zero for ever")


class ReorderedBlock(ResidualBlock):
    """A basic block with its activations in another order (He et al. 2016, Table 2).

    Attributes:
        order: "norm_after_add" (8.17 % error, published, CIFAR-10, 110 layers), "relu_before_add" (7.84 %), or
            "relu_first", pre-activation by ReLU alone (6.71 %).
    """

    order: str = "relu_first"

    def __post_init__(self):
        refuse_zeros(self.order, self.zero_last)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        last_norm = self.norm(name="norm2", scale_init=self.last_init(nn.initializers.ones))
        residual = self.apply_shortcut(x)
        y = nn.relu(x) if self.order == "relu_first" else x
        y = self.conv(self.filters, 3, self.strides, dilation=self.dilation_before, name="conv1")(y)
        y = self.conv(self.filters, 3, dilation=self.dilation, name="conv2")(nn.relu(self.norm(name="norm1")(y)))
        if self.order == "norm_after_add":
            return nn.relu(last_norm(self.merge(x, residual, self.finish_branch(y))))
        y = self.finish_branch(last_norm(y))
        return self.merge(x, residual, nn.relu(y) if self.order == "relu_before_add" else y)
