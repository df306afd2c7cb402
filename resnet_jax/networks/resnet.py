"""ResNet (He et al. 2015, arXiv:1512.03385) and the tables of its depths.

The same module is the ImageNet family (four stages, bottlenecks from 50 layers on), the CIFAR family (three stages of
n basic blocks, 6n + 2 layers) and, with `shortcut="none"`, the plain networks whose degradation the paper cures.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from resnet_jax.networks.blocks import BasicBlock, Bottleneck
from resnet_jax.networks.layers import BatchNorm, Conv, max_pool
from resnet_jax.networks.shortcuts import SHORTCUTS


class ResNet(nn.Module):
    """A residual network: images [B,H,W,3] -> float32 logits [B,K].

    Attributes:
        stage_sizes: blocks in each stage; every stage but the first halves the resolution.
        block: the block class, a partial of it included.
        num_classes: K; 0 leaves the head out, and the pooled values [B,C] stand for the logits (a backbone).
        width: filters of the first stage; each further stage doubles them.
        stem: "imagenet" (7x7 at stride 2, then 3x3 maximum pooling at stride 2) or "cifar" (3x3).
        shortcut: "A", "B", "C" of the paper, or "none" (plain network).
        output_stride: pixels of the image per pixel of the last stage, at most. A stage that would go beyond keeps
            its resolution, and its convolutions are dilated instead, so that each still sees what it saw
            (8 or 16, for dense prediction).
        bn_group_size: examples normalised together; 0 is the whole global batch.
        zero_init: start the last normalisation scale of every block at zero (Goyal et al. 2017), so that each
            block starts as its shortcut.
        dtype: type of the computation; parameters, statistics and logits are float32 under every choice.
        param_dtype: type in which parameters are stored.

    Raises:
        ValueError: an unknown shortcut or stem; an `output_stride` that the stem alone exceeds; `zero_init` without
            shortcuts, where the network would be zero for ever.
    """

    stage_sizes: Sequence[int]
    block: Callable[..., nn.Module]
    num_classes: int = 1000
    width: int = 64
    stem: str = "imagenet"
    shortcut: str = "B"
    output_stride: int = 32
    bn_group_size: int = 0
    zero_init: bool = False
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def __post_init__(self):
        for option, known in (("shortcut", SHORTCUTS), ("stem", STEMS)):
            if getattr(self, option) not in known:
                raise ValueError(f"{option}={getattr(self, option)!r} is none of {', '.join(known)}")
        if self.zero_init and self.shortcut == "none":
            raise ValueError("zero_init needs shortcuts: a plain network with zero scales passes nothing on")
        if self.output_stride < stem_stride(self.stem):
            raise ValueError(f"output_stride={self.output_stride}: the stem alone has {stem_stride(self.stem)}")
        super().__post_init__()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False, features: bool = False):
        """Logits [B,K]; with `features`, a dict of the stem's, each stage's, the pooled and the logits' values."""
        conv = partial(Conv, dtype=self.dtype, param_dtype=self.param_dtype)
        norm = partial(
            BatchNorm,
            use_running_average=not train,
            group_size=self.bn_group_size,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        block = partial(
            self.block,
            conv=conv,
            norm=norm,
            shortcut=SHORTCUTS[self.shortcut],
            last_scale_init=nn.initializers.zeros if self.zero_init else nn.initializers.ones,
        )
        kernel_size, strides = STEMS[self.stem]
        stride_so_far = stem_stride(self.stem)
        x = conv(self.width, kernel_size, strides, name="stem_conv")(images)
        x = nn.relu(norm(name="stem_norm")(x))
        outputs = {"stem": x}
        if self.stem == "imagenet":
            x = max_pool(x)
        dilation = 1
        for stage, size in enumerate(self.stage_sizes, start=1):
            strides = 1 if stage == 1 else 2
            dilation_before = dilation
            if stride_so_far * strides > self.output_stride:
                dilation, strides = dilation * strides, 1
            stride_so_far *= strides
            digits = max(2, len(str(size)))  # so that names sort as the blocks run, also with 200 a stage
            for index in range(size):
                x = block(
                    filters=self.width * 2 ** (stage - 1),
                    strides=strides if index == 0 else 1,
                    dilation_before=dilation_before if index == 0 else dilation,
                    dilation=dilation,
                    name=f"stage{stage}_block{index + 1:0{digits}d}",
                )(x)
            outputs[f"stage{stage}"] = x
        pooled = outputs["pooled"] = x.astype(jnp.float32).mean(axis=(1, 2))
        if not self.num_classes:
            return outputs if features else pooled
        logits = outputs["logits"] = nn.Dense(
            self.num_classes,
            kernel_init=nn.initializers.normal(0.01),
            param_dtype=self.param_dtype,
            name="head",
        )(pooled)
        return outputs if features else logits


STEMS = {"imagenet": (7, 2), "cifar": (3, 1)}  # kernel size, strides


def stem_stride(stem: str) -> int:
    """Pixels of the image per pixel of what the first stage is given."""
    return STEMS[stem][1] * (2 if stem == "imagenet" else 1)


SIZES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def imagenet_block(depth: int) -> Callable[..., nn.Module]:
    """The paper's choice: basic blocks up to 34 layers, bottlenecks above."""
    return BasicBlock if depth < 50 else Bottleneck


def cifar_resnet(depth: int, **options: Any) -> ResNet:
    """The CIFAR network of 6n + 2 layers (section 4.2): three stages of n basic blocks with 16, 32, 64 filters.

    Raises:
        ValueError: `depth` is not 6n + 2.
    """
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise ValueError(f"a CIFAR network has 6n + 2 layers (8, 14, 20, 32, 44, 56, 110, …), not {depth}")
    defaults: dict[str, Any] = {"num_classes": 10, "width": 16, "stem": "cifar", "shortcut": "A"}
    return ResNet(stage_sizes=(blocks,) * 3, block=BasicBlock, **(defaults | options))


MODELS: dict[str, Callable[..., nn.Module]] = {
    **{f"resnet{d}": partial(ResNet, sizes, imagenet_block(d)) for d, sizes in SIZES.items()},
    **{f"resnet{d}_v1": partial(ResNet, SIZES[d], partial(Bottleneck, stride_on_1x1=True)) for d in (50, 101, 152)},
    **{f"plain{d}": partial(ResNet, SIZES[d], BasicBlock, shortcut="none") for d in (18, 34)},
    **{f"resnet{d}_cifar": partial(cifar_resnet, d) for d in (8, 20, 32, 44, 56, 110, 1202)},
    **{f"plain{d}_cifar": partial(cifar_resnet, d, shortcut="none") for d in (8, 20, 32, 44, 56, 110)},
}

# Families with a network of every depth, beyond the depths listed above.
ANY_DEPTH: dict[str, Callable[..., nn.Module]] = {
    r"resnet([1-9][0-9]*)_cifar": cifar_resnet,
    r"plain([1-9][0-9]*)_cifar": partial(cifar_resnet, shortcut="none"),
}
