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

from resnet_jax.networks.attention import ATTENTION
from resnet_jax.networks.blocks import BasicBlock, Bottleneck
from resnet_jax.networks.he2016 import MERGES, ReorderedBlock
from resnet_jax.networks.layers import BatchNorm, Conv, StochasticDepth
from resnet_jax.networks.preact import PreActBasicBlock, PreActBottleneck
from resnet_jax.networks.shortcuts import SHORTCUTS
from resnet_jax.networks.stems import STEMS, apply_stem, pool_stem


class ResNet(nn.Module):
    """A residual network: images [B,H,W,3] -> float32 logits [B,K].

    Attributes:
        stage_sizes: blocks in each stage; every stage but the first halves the resolution.
        block: the block class, a partial of it included.
        num_classes: K; 0 leaves the head out, and the pooled values [B,C] stand for the logits (a backbone).
        width: filters of the first stage; each further stage doubles them.
        stem_width: channels of the stem; 0 is `width`.
        stem: a name in `stems.STEMS`, such as "imagenet" (7x7 at stride 2, then 3x3 maximum pooling at stride 2) or
            "cifar" (3x3).
        shortcut: "A", "B", "C" of the paper, "D" (average pooling), or "none" (plain network).
        merge: a name in `he2016.MERGES`: how shortcut and branch are joined.
        preact: the blocks are pre-activation blocks: no normalisation in the stem, one before the head.
        attention: a name in `attention.ATTENTION`, at the end of every residual branch; "" is none.
        blur: subsample with a blur (the stem's pooling; blocks take `blur` themselves).
        norm: "batch", "frozen" (batch normalisation that never changes) or "group" (32 groups of channels).
        standardise: weight-standardised convolutions.
        stochastic_depth: probability with which the last block is left out in training; it rises linearly from 0.
        output_stride: pixels of the image per pixel of the last stage, at most. A stage that would go beyond keeps
            its resolution, and its convolutions are dilated instead, so that each still sees what it saw
            (8 or 16, for dense prediction).
        bn_group_size: examples normalised together; 0 is the whole global batch.
        zero_init: start the last normalisation scale of every block at zero (Goyal et al. 2017), so that each
            block starts as its shortcut.
        conv_head: the classifier is a 1x1 convolution, as in the weights of BiT and of timm's pre-activation nets.
        dtype: type of the computation; parameters, statistics and logits are float32 under every choice.
        param_dtype: type in which parameters are stored.

    Raises:
        ValueError: `zero_init` without shortcuts, where the network would be zero for ever; an `output_stride` that
            the stem alone exceeds.
    """

    stage_sizes: Sequence[int]
    block: Callable[..., nn.Module]
    num_classes: int = 1000
    width: int = 64
    stem_width: int = 0
    stem: str = "imagenet"
    shortcut: str = "B"
    merge: str = "add"
    preact: bool = False
    attention: str = ""
    blur: bool = False
    norm: str = "batch"
    standardise: bool = False
    stochastic_depth: float = 0.0
    output_stride: int = 32
    bn_group_size: int = 0
    zero_init: bool = False
    conv_head: bool = False
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False, features: bool = False):
        """Logits [B,K]; with `features`, a dict of the stem's, each stage's, the pooled and the logits' values."""
        if self.zero_init and self.shortcut == "none":
            raise ValueError("zero_init needs shortcuts: a plain network with zero scales passes nothing on")
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv = partial(Conv, standardise=self.standardise, **types)
        norm = partial(
            BatchNorm,
            use_running_average=not train,
            group_size=self.bn_group_size,
            frozen=self.norm == "frozen",
            **types,
        )
        if self.norm == "group":
            norm = partial(nn.GroupNorm, num_groups=32, epsilon=1e-5, **types)
        block = partial(
            self.block,
            conv=conv,
            norm=norm,
            shortcut=SHORTCUTS[self.shortcut],
            merge=partial(MERGES[self.merge], conv=conv, train=train),
            last_scale_init=nn.initializers.zeros if self.zero_init else nn.initializers.ones,
        )
        attention = ATTENTION[self.attention]
        stem = STEMS[self.stem]
        if self.output_stride < stem.total_stride:
            raise ValueError(f"output_stride={self.output_stride}: the stem alone has {stem.total_stride}")
        x = apply_stem(images, stem, self.stem_width or self.width, conv, norm)
        if not self.preact:
            x = nn.relu(norm(name="stem_norm")(x))
        outputs = {"stem": x}
        x = pool_stem(x, stem, conv, norm, self.blur)

        stride_so_far, dilation = stem.total_stride, 1
        last = sum(self.stage_sizes) - 1
        for stage, size in enumerate(self.stage_sizes, start=1):
            strides = 1 if stage == 1 else 2
            dilation_before = dilation
            if stride_so_far * strides > self.output_stride:
                dilation, strides = dilation * strides, 1
            stride_so_far *= strides
            digits = max(2, len(str(size)))  # so that names sort as the blocks run, also with 200 a stage
            for index in range(size):
                depth = sum(self.stage_sizes[: stage - 1]) + index
                drop = partial(StochasticDepth, self.stochastic_depth * depth / max(1, last), not train)
                x = block(
                    filters=self.width * 2 ** (stage - 1),
                    strides=strides if index == 0 else 1,
                    branch_end=partial(end_branch, attention=attention, drop=drop, conv=conv),
                    dilation_before=dilation_before if index == 0 else dilation,
                    dilation=dilation,
                    name=f"stage{stage}_block{index + 1:0{digits}d}",
                )(x)
            outputs[f"stage{stage}"] = x
        if self.preact:
            x = norm(name="head_norm")(x)
        x = nn.relu(x)  # changes nothing where the last block has done so
        pooled = outputs["pooled"] = x.astype(jnp.float32).mean(axis=(1, 2))
        if not self.num_classes:
            return outputs if features else pooled
        if self.conv_head:
            head = partial(Conv, kernel_size=1, use_bias=True)
            pooled = pooled[:, None, None, :]
        else:
            head = nn.Dense
        logits = head(
            self.num_classes,
            kernel_init=nn.initializers.normal(0.01),
            param_dtype=self.param_dtype,
            name="head",
        )(pooled)
        logits = outputs["logits"] = logits.reshape(-1, self.num_classes)
        return outputs if features else logits


def end_branch(y: jax.Array, *, attention: Callable | None, drop: Callable, conv: Callable) -> jax.Array:
    """What follows the last normalisation of a residual branch; its layers belong to the calling block."""
    if attention is not None:
        y = attention(conv=conv, name="attention")(y)
    return drop(name="drop")(y)


SIZES = {
    18: (2, 2, 2, 2),
    26: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


def imagenet_block(depth: int) -> Callable[..., nn.Module]:
    """The paper's choice: basic blocks up to 34 layers, bottlenecks above."""
    return BasicBlock if depth in (18, 34) else Bottleneck


def cifar_resnet(depth: int, **options: Any) -> ResNet:
    """The CIFAR network of 6n + 2 layers (section 4.2): three stages of n basic blocks with 16, 32, 64 filters.

    Raises:
        ValueError: `depth` is not 6n + 2.
    """
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise ValueError(f"a CIFAR network has 6n + 2 layers (8, 14, 20, 32, 44, 56, 110, …), not {depth}")
    defaults: dict[str, Any] = {
        "block": BasicBlock,
        "num_classes": 10,
        "width": 16,
        "stem": "cifar",
        "shortcut": "A",
    }
    return ResNet(stage_sizes=(blocks,) * 3, **(defaults | options))


def cifar_preresnet(depth: int, **options: Any) -> ResNet:
    """The pre-activation CIFAR network (He et al. 2016): 9n + 2 layers of bottlenecks from 164 on, 6n + 2 basic below.

    Raises:
        ValueError: `depth` has neither form.
    """
    per_block = 9 if depth >= 164 else 6
    blocks, rest = divmod(depth - 2, per_block)
    if rest or blocks < 1:
        raise ValueError(
            f"a pre-activation CIFAR network has 6n + 2 layers (20, 32, 44, 56, 110), or 9n + 2 from 164 on, not {depth}"
        )
    sizes = (blocks,) * 3
    block, shortcut = (PreActBottleneck, "bare") if per_block == 9 else (PreActBasicBlock, "A")
    defaults: dict[str, Any] = {"num_classes": 10, "width": 16, "stem": "cifar", "shortcut": shortcut, "preact": True}
    return ResNet(stage_sizes=sizes, block=block, **(defaults | options))


def cifar_wide_resnet(depth: int, factor: int, **options: Any) -> ResNet:
    """Wide ResNet of 6n + 4 layers, `factor` times the width (Zagoruyko and Komodakis 2016).

    Raises:
        ValueError: `depth` is not 6n + 4.
    """
    blocks, rest = divmod(depth - 4, 6)
    if rest or blocks < 1:
        raise ValueError(f"a Wide ResNet has 6n + 4 layers (16, 22, 28, 40), not {depth}")
    defaults: dict[str, Any] = {
        "num_classes": 10,
        "width": 16 * factor,
        "stem_width": 16,
        "stem": "cifar",
        "shortcut": "bare",
        "preact": True,
    }
    return ResNet(stage_sizes=(blocks,) * 3, block=PreActBasicBlock, **(defaults | options))


MODELS: dict[str, Callable[..., nn.Module]] = {
    **{f"resnet{d}": partial(ResNet, SIZES[d], imagenet_block(d)) for d in (18, 34, 50, 101, 152)},
    **{f"resnet{d}_v1": partial(ResNet, SIZES[d], partial(Bottleneck, stride_on_1x1=True)) for d in (50, 101, 152)},
    **{f"plain{d}": partial(ResNet, SIZES[d], BasicBlock, shortcut="none") for d in (18, 34)},
    # Xie et al. 2017, arXiv:1611.05431: the 3x3 in groups.
    **{
        f"resnext{d}_{g}x{w}d": partial(ResNet, SIZES[d], partial(Bottleneck, groups=g, group_width=w))
        for d, g, w in ((50, 32, 4), (101, 32, 8), (101, 64, 4))
    },
    # Zagoruyko and Komodakis 2016, arXiv:1605.07146: the 3x3 twice as wide.
    **{f"wide_resnet{d}_2": partial(ResNet, SIZES[d], partial(Bottleneck, group_width=128)) for d in (50, 101)},
    # He et al. 2018, arXiv:1812.01187 (ResNet-D), and timm's T.
    **{
        f"resnet{d}d": partial(ResNet, SIZES[d], imagenet_block(d), stem="deep", shortcut="D")
        for d in (18, 26, 34, 50, 101, 152)
    },
    **{f"resnet{d}t": partial(ResNet, SIZES[d], Bottleneck, stem="tiered", shortcut="D") for d in (26, 50)},
    # Channel attention: Hu et al. 2018, arXiv:1709.01507; Wang et al. 2020, arXiv:1910.03151; Li et al. 2019,
    # arXiv:1903.06586.
    "seresnet50": partial(ResNet, SIZES[50], Bottleneck, attention="se"),
    "seresnet152d": partial(ResNet, SIZES[152], Bottleneck, stem="deep", shortcut="D", attention="se"),
    "ecaresnet50d": partial(ResNet, SIZES[50], Bottleneck, stem="deep", shortcut="D", attention="eca"),
    "skresnet50": partial(ResNet, SIZES[50], partial(Bottleneck, selective=True)),
    # Zhang 2019, arXiv:1904.11486.
    "resnetblur50": partial(ResNet, SIZES[50], partial(Bottleneck, blur=True), blur=True),
    # Bello et al. 2021, arXiv:2103.07579.
    **{
        f"resnetrs{d}": partial(ResNet, SIZES[d], Bottleneck, stem="deep_conv", shortcut="D", attention="se4")
        for d in (50, 101)
    },
    # He et al. 2016, arXiv:1603.05027, and BiT: Kolesnikov et al. 2020, arXiv:1912.11370.
    "resnetv2_50": partial(ResNet, SIZES[50], PreActBottleneck, shortcut="bare", preact=True, conv_head=True),
    "resnetv2_50x1_bit": partial(
        ResNet,
        SIZES[50],
        PreActBottleneck,
        stem="bit",
        shortcut="bare",
        preact=True,
        conv_head=True,
        norm="group",
        standardise=True,
    ),
    **{f"resnet{d}_cifar": partial(cifar_resnet, d) for d in (8, 20, 32, 44, 56, 110, 1202)},
    **{f"plain{d}_cifar": partial(cifar_resnet, d, shortcut="none") for d in (8, 20, 32, 44, 56, 110)},
    # He et al. 2016: the shortcuts of Table 1 (a 1x1 convolution is option C), the orders of Table 2.
    **{f"resnet110_{kind}_cifar": partial(cifar_resnet, 110, merge=kind) for kind in MERGES if kind != "add"},
    "resnet110_conv_cifar": partial(cifar_resnet, 110, shortcut="C"),
    **{
        f"resnet110_{order}_cifar": partial(cifar_resnet, 110, block=partial(ReorderedBlock, order=order))
        for order in ("norm_after_add", "relu_before_add", "relu_first")
    },
    **{f"preresnet{d}_cifar": partial(cifar_preresnet, d) for d in (20, 56, 110, 164, 1001)},
    "wrn28_10_cifar": partial(cifar_wide_resnet, 28, 10),
}

# Families with a network of every depth, beyond the depths listed above.
ANY_DEPTH: dict[str, Callable[..., nn.Module]] = {
    r"resnet(\d+)_cifar": cifar_resnet,
    r"plain(\d+)_cifar": partial(cifar_resnet, shortcut="none"),
    r"preresnet(\d+)_cifar": cifar_preresnet,
    r"wrn(\d+)_(\d+)_cifar": cifar_wide_resnet,
}
