"""The depths and variants of ResNet: one-line partials in a table, each with its source."""

from collections.abc import Callable
from functools import partial
from typing import Any

from flax import linen as nn

from resnet_jax.models.resnet.blocks import (
    BasicBlock,
    Bottleneck,
    PreActBasicBlock,
    PreActBottleneck,
    ReorderedBlock,
    refuse_zeros,
)
from resnet_jax.models.resnet.resnet import ResNet
from resnet_jax.models.resnet.shortcuts import MERGES


def cifar_resnet(depth: int, **options: Any) -> ResNet:
    """Return the CIFAR network of 6n + 2 layers (section 4.2): three stages of n basic blocks, 16, 32, 64 filters.

    Raises:
        ValueError: `depth` is not 6n + 2.
    """
    sizes = _stage_sizes(depth, 6, 2, "a CIFAR network has 6n + 2 layers (8, 14, 20, 32, 44, 56, 110, …)")
    return partial(CIFAR, stage_sizes=sizes, block=BasicBlock, shortcut="A")(**options)


def cifar_preresnet(depth: int, **options: Any) -> ResNet:
    """Return the pre-activation CIFAR network (He et al. 2016): 6n + 2 layers, from 164 on 9n + 2 with bottlenecks.

    Raises:
        ValueError: `depth` is neither.
    """
    layers, block, shortcut = (9, PreActBottleneck, "bare") if depth >= 164 else (6, PreActBasicBlock, "A")
    family = "a pre-activation CIFAR network has 6n + 2 layers (20, 56, 110), or 9n + 2 from 164 on"
    sizes = _stage_sizes(depth, layers, 2, family)
    return partial(CIFAR, stage_sizes=sizes, block=block, shortcut=shortcut, preact=True)(**options)


def cifar_wide_resnet(depth: int, factor: int, **options: Any) -> ResNet:
    """Return the Wide ResNet of 6n + 4 layers, `factor` times the width (Zagoruyko and Komodakis 2016).

    Raises:
        ValueError: `depth` is not 6n + 4.
    """
    sizes = _stage_sizes(depth, 6, 4, "a Wide ResNet has 6n + 4 layers (16, 22, 28, 40)")
    wide = partial(CIFAR, width=16 * factor, stem_width=16, shortcut="bare", preact=True)
    return partial(wide, stage_sizes=sizes, block=PreActBasicBlock)(**options)


CIFAR: Callable[..., ResNet] = partial(ResNet, num_classes=10, width=16, stem="cifar")


def _stage_sizes(depth: int, block_layers: int, other_layers: int, family: str) -> tuple[int, int, int]:
    size, rest = divmod(depth - other_layers, block_layers)
    if rest or size < 1:
        raise ValueError(f"{family}, not {depth}")
    return (size, size, size)


def reordered(order: str, **options: Any) -> ResNet:
    """Return the CIFAR network of 110 layers with its activations in another order (He et al. 2016, Table 2).

    Raises:
        ValueError: `zero_init` with an order that has a ReLU after the zeros.
    """
    refuse_zeros(order, options.get("zero_init", False))
    return cifar_resnet(110, block=partial(ReorderedBlock, order=order), **options)


# He et al. 2015, table 1; 26 layers are timm's.
DEPTHS: dict[int, Callable[..., ResNet]] = {
    18: partial(ResNet, stage_sizes=(2, 2, 2, 2), block=BasicBlock),
    26: partial(ResNet, stage_sizes=(2, 2, 2, 2), block=Bottleneck),
    34: partial(ResNet, stage_sizes=(3, 4, 6, 3), block=BasicBlock),
    50: partial(ResNet, stage_sizes=(3, 4, 6, 3), block=Bottleneck),
    101: partial(ResNet, stage_sizes=(3, 4, 23, 3), block=Bottleneck),
    152: partial(ResNet, stage_sizes=(3, 8, 36, 3), block=Bottleneck),
}
# He et al. 2018, arXiv:1812.01187.
DEEP_STEM: dict[int, Callable[..., ResNet]] = {d: partial(r, stem="deep", shortcut="D") for d, r in DEPTHS.items()}
# He et al. 2016, arXiv:1603.05027, with the head of BiT's weights.
RESNETV2_50 = partial(DEPTHS[50], block=PreActBottleneck, shortcut="bare", preact=True, conv_head=True)

MODELS: dict[str, Callable[..., nn.Module]] = {
    **{f"resnet{d}": DEPTHS[d] for d in (18, 34, 50, 101, 152)},
    **{f"resnet{d}_v1": partial(DEPTHS[d], block=partial(Bottleneck, stride_on_1x1=True)) for d in (50, 101, 152)},
    **{f"plain{d}": partial(DEPTHS[d], shortcut="none") for d in (18, 34)},
    # Xie et al. 2017, arXiv:1611.05431: the 3x3 in groups.
    "resnext50_32x4d": partial(DEPTHS[50], block=partial(Bottleneck, groups=32, group_width=4)),
    "resnext101_32x8d": partial(DEPTHS[101], block=partial(Bottleneck, groups=32, group_width=8)),
    "resnext101_64x4d": partial(DEPTHS[101], block=partial(Bottleneck, groups=64, group_width=4)),
    # Zagoruyko and Komodakis 2016, arXiv:1605.07146: the 3x3 twice as wide.
    **{f"wide_resnet{d}_2": partial(DEPTHS[d], block=partial(Bottleneck, group_width=128)) for d in (50, 101)},
    # ResNet-D, and timm's T.
    **{f"resnet{d}d": resnet for d, resnet in DEEP_STEM.items()},
    **{f"resnet{d}t": partial(DEPTHS[d], block=Bottleneck, stem="tiered", shortcut="D") for d in (26, 50)},
    # Hu et al. 2018, arXiv:1709.01507.
    "seresnet50": partial(DEPTHS[50], attention="se"),
    "seresnet152d": partial(DEEP_STEM[152], attention="se"),
    # Wang et al. 2020, arXiv:1910.03151.
    "ecaresnet50d": partial(DEEP_STEM[50], attention="eca"),
    # Li et al. 2019, arXiv:1903.06586.
    "skresnet50": partial(DEPTHS[50], block=partial(Bottleneck, selective=True)),
    # Zhang 2019, arXiv:1904.11486.
    "resnetblur50": partial(DEPTHS[50], block=partial(Bottleneck, blur=True), blur=True),
    # Bello et al. 2021, arXiv:2103.07579.
    **{f"resnetrs{d}": partial(DEPTHS[d], stem="deep_conv", shortcut="D", attention="se4") for d in (50, 101)},
    # He et al. 2016, and BiT: Kolesnikov et al. 2020, arXiv:1912.11370.
    "resnetv2_50": RESNETV2_50,
    "resnetv2_50x1_bit": partial(RESNETV2_50, stem="bit", norm="group", standardize=True),
    **{f"resnet{d}_cifar": partial(cifar_resnet, d) for d in (8, 20, 32, 44, 56, 110, 1202)},
    **{f"plain{d}_cifar": partial(cifar_resnet, d, shortcut="none") for d in (8, 20, 32, 44, 56, 110)},
    # He et al. 2016: the shortcuts of Table 1 (a 1x1 convolution is option C), the orders of Table 2.
    **{f"resnet110_{merge}_cifar": partial(cifar_resnet, 110, merge=merge) for merge in MERGES if merge != "add"},
    "resnet110_conv_cifar": partial(cifar_resnet, 110, shortcut="C"),
    **{
        f"resnet110_{order}_cifar": partial(reordered, order)
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
