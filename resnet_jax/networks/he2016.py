"""What He et al. 2016 (arXiv:1603.05027) tried in place of the identity: the merges of Table 1, the orders of Table 2.

A merge joins a block's shortcut and its residual branch. It is called inside the block, so that its layers are the
block's: `merge(x, residual, y, conv=…, train=…)`, where x [B,H,W,C] is the block's input, residual what the shortcut
made of it, and y the branch, both [B,H/s,W/s,D].
"""

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import jax
from flax import linen as nn

from resnet_jax.networks.shortcuts import add


def constant_scaling(
    x: jax.Array, residual: jax.Array, y: jax.Array, *, conv: Callable, train: bool, shortcut: float, branch: float
) -> jax.Array:
    """Both weighted by constants: 12.35 % error at 0.5 and 0.5 (published, CIFAR-10, ResNet-110; the sum: 6.61 %)."""
    return branch * y + shortcut * residual


def exclusive_gating(
    x: jax.Array, residual: jax.Array, y: jax.Array, *, conv: Callable, train: bool, bias: float
) -> jax.Array:
    """g(x) for the branch and 1 - g(x) for the shortcut, as in highway networks: 8.70 % at bias -6 (published)."""
    g = gate(x, y, conv, bias)
    return g * y + (1 - g) * residual


def shortcut_only_gating(
    x: jax.Array, residual: jax.Array, y: jax.Array, *, conv: Callable, train: bool, bias: float
) -> jax.Array:
    """1 - g(x) for the shortcut alone: 12.86 % at bias 0, 6.91 % at bias -6 (published)."""
    return y + (1 - gate(x, y, conv, bias)) * residual


def dropped_shortcut(
    x: jax.Array, residual: jax.Array, y: jax.Array, *, conv: Callable, train: bool, rate: float
) -> jax.Array:
    """Dropout on the shortcut: the paper's network at 0.5 did not converge (published)."""
    return y + nn.Dropout(rate, deterministic=not train, name="drop_shortcut")(residual)


def gate(x: jax.Array, y: jax.Array, conv: Callable, bias: float) -> jax.Array:
    """g(x) = sigmoid(W x + b) with a 1x1 convolution, in the shape of y."""
    strides = -(-x.shape[1] // y.shape[1])
    start = nn.initializers.constant(bias)
    return nn.sigmoid(conv(y.shape[-1], 1, strides, use_bias=True, bias_init=start, name="gate")(x))


MERGES: dict[str, Callable[..., jax.Array]] = {
    "add": add,
    "constant": partial(constant_scaling, shortcut=0.5, branch=0.5),
    "exclusive_gate": partial(exclusive_gating, bias=-6.0),
    "shortcut_gate": partial(shortcut_only_gating, bias=-6.0),
    "dropout": partial(dropped_shortcut, rate=0.5),
}


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
