"""The depths and variants of ResNet: one-line partials, each with its source."""

from collections.abc import Callable
from functools import partial
from typing import Any

from flax import linen as nn

from resnet_jax.models.resnet.blocks import BasicBlock, Bottleneck, PreActBasicBlock, PreActBottleneck, ReorderedBlock
from resnet_jax.models.resnet.resnet import ResNet
from resnet_jax.models.resnet.shortcuts import MERGES

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
            f"a pre-activation CIFAR network has 6n + 2 layers (20, 56, 110), or 9n + 2 from 164 on, not {depth}"
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
        standardize=True,
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
    r"resnet([1-9][0-9]*)_cifar": cifar_resnet,
    r"plain([1-9][0-9]*)_cifar": partial(cifar_resnet, shortcut="none"),
    r"preresnet([1-9][0-9]*)_cifar": cifar_preresnet,
    r"wrn([1-9][0-9]*)_([1-9][0-9]*)_cifar": cifar_wide_resnet,
}
