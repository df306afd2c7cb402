"""ResNet (He et al. 2015, arXiv:1512.03385); `variants.py` has its depths and variants by name.

The same module is the ImageNet family (four stages, bottlenecks from 50 layers on), the CIFAR family (three stages of
n basic blocks, 6n + 2 layers) and, with `shortcut="none"`, the plain networks whose degradation the paper cures.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from resnet_jax.layers.attention import ATTENTION
from resnet_jax.layers.conv import Conv
from resnet_jax.layers.norm import GROUPS, NORMS, norm_layer
from resnet_jax.layers.stochastic_depth import StochasticDepth
from resnet_jax.models.resnet.scan import ScanGroup, apply_blocks, block_names
from resnet_jax.models.resnet.shortcuts import MERGES, SHORTCUTS
from resnet_jax.models.resnet.stems import STEMS, apply_stem, pool_stem

PARTS = {"shortcut": SHORTCUTS, "merge": MERGES, "stem": STEMS, "attention": ATTENTION, "norm": NORMS}


class ResNet(nn.Module):
    """A residual network: images [B,H,W,3] -> float32 logits [B,K].

    Attributes:
        stage_sizes: blocks in each stage; every stage but the first halves the resolution.
        block: the block class, a partial of it included.
        num_classes: K; 0 builds no head and returns the pooled values [B,C] (a backbone).
        width: filters of the first stage; each further stage doubles them.
        stem_width: channels of the stem; 0 is `width`.
        stem: a name in `STEMS`: "imagenet" (7x7 at stride 2, then 3x3 maximum pooling at stride 2), "cifar" (3x3), …
        shortcut: "A", "B", "C" of the paper, "D" (average pooling), or "none" (plain network).
        merge: a name in `MERGES`: how shortcut and branch are joined.
        preact: the blocks are pre-activation blocks: no normalization in the stem, one before the head.
        attention: a name in `ATTENTION`, of channel attention at the end of every branch; "" is none.
        blur: subsample with a blur (the stem's pooling; blocks have their own `blur`).
        blur_strides: blur before every convolution that strides (ffcv); see `layers.conv.Conv`.
        norm: "batch", "frozen" (batch normalization that never changes) or "group" (32 groups of channels).
        standardize: weight-standardized convolutions.
        stochastic_depth: probability with which the last block is left out in training; it rises linearly from 0.
        output_stride: pixels of the image per pixel of the last stage, at most. A stage that would go beyond keeps its
            resolution, and its convolutions are dilated instead, with the same reach (8 or 16, for dense prediction).
        bn_group_size: examples normalized together; 0 is the whole global batch.
        zero_init: start each block as its shortcut (Goyal et al. 2017): its last normalization scale, in pre-activation
            blocks its last kernel, is zero.
        conv_head: the classifier is a 1x1 convolution, as in the weights of BiT and of timm's pre-activation nets.
        scan: run the blocks of each stage, all but its first, as the iterations of one loop; see `scan.py`.
        remat: keep only each block's input for the backward pass and compute the rest of the block again. Variables are
            the same with `scan` and `remat`; the random draws of stochastic depth are others.
        dtype, param_dtype: types of the computation and of stored parameters; statistics and logits are float32.

    Raises:
        ValueError: a part of unknown name, or options that exclude each other.
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
    blur_strides: bool = False
    norm: str = "batch"
    standardize: bool = False
    stochastic_depth: float = 0.0
    output_stride: int = 32
    bn_group_size: int = 0
    zero_init: bool = False
    conv_head: bool = False
    scan: bool = False
    remat: bool = False
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def __post_init__(self):
        for option, known in PARTS.items():
            if getattr(self, option) not in known:
                raise ValueError(f"{option}={getattr(self, option)!r} is none of {', '.join(map(repr, known))}")
        stem, plain = STEMS[self.stem], self.shortcut == "none"
        uneven = [c for c in (self.width, self.stem_width, *stem.hidden) if c % GROUPS]
        for refused, why in (
            (self.zero_init and plain, "zero_init needs shortcuts: a plain network with zero scales outputs zeros"),
            (self.zero_init and self.norm == "frozen", "zero_init: norm='frozen' would keep the zero scales for ever"),
            (self.zero_init and self.standardize, "zero_init: a standardized kernel of zeros is divided by zero"),
            (self.merge != "add" and plain, f"merge={self.merge!r} needs a shortcut to merge"),
            (self.output_stride < stem.total_stride, f"output_stride: the stem alone has {stem.total_stride}"),
            (self.blur_strides and self.dilates(), "blur_strides has no dilated form: leave output_stride out"),
            (self.norm == "group" and uneven, f"norm='group' needs multiples of {GROUPS} channels, not {uneven}"),
            (not 0 <= self.stochastic_depth < 1, "stochastic_depth must be at least 0 and below 1"),
        ):
            if refused:
                raise ValueError(why)
        super().__post_init__()

    @nn.nowrap
    def dilates(self) -> bool:
        """Return whether dilation replaces the stride of a stage."""
        return STEMS[self.stem].total_stride * 2 ** (len(self.stage_sizes) - 1) > self.output_stride

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False, features: bool = False):
        """Return logits [B,K]; with `features`, a dict of "stem", "stage1", …, "pooled" and "logits"."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv = partial(Conv, standardize=self.standardize, blur=self.blur_strides, **types)
        norm = norm_layer(self.norm, train, self.bn_group_size, **types)
        merge, attention = partial(MERGES[self.merge], conv=conv, train=train), ATTENTION[self.attention]
        parts = {"conv": conv, "norm": norm, "merge": merge, "attention": attention, "zero_last": self.zero_init}

        def block(rate: Any, **options: Any) -> nn.Module:
            drop = partial(StochasticDepth, rate, not train)
            return self.block(shortcut=SHORTCUTS[self.shortcut], drop=drop, **parts, **options)

        stem = STEMS[self.stem]
        x = apply_stem(images, stem, self.stem_width or self.width, conv, norm)
        outputs = {"stem": x if self.preact else nn.relu(norm(name="stem_norm")(x))}
        x = pool_stem(outputs["stem"], stem, conv, norm, self.blur)

        total_stride, dilation, depth = stem.total_stride, 1, 0
        for stage, size in enumerate(self.stage_sizes, start=1):
            strides, dilation_before = 1 if stage == 1 else 2, dilation
            if total_stride * strides > self.output_stride:
                strides, dilation = 1, dilation * strides
            total_stride *= strides
            names, last = block_names(stage, size), sum(self.stage_sizes) - 1
            rates = [self.stochastic_depth * (depth + index) / max(1, last) for index in range(size)]
            depth += size
            alike = partial(block, filters=self.width * 2 ** (stage - 1), dilation=dilation)
            first = partial(alike, strides=strides, dilation_before=dilation_before)
            later = partial(alike, strides=1, dilation_before=dilation)
            x = apply_blocks(self, first, names[:1], rates[:1], x)
            x = outputs[f"stage{stage}"] = apply_blocks(self, later, names[1:], rates[1:], x)
        x = norm(name="head_norm")(x) if self.preact else x
        x = nn.relu(x)  # changes nothing where the last block has done so
        pooled = outputs["pooled"] = x.astype(jnp.float32).mean(axis=(1, 2))
        if not self.num_classes:
            return outputs if features else pooled
        head = partial(Conv, kernel_size=1, use_bias=True) if self.conv_head else nn.Dense
        start = nn.initializers.normal(0.01)
        head = head(self.num_classes, kernel_init=start, param_dtype=self.param_dtype, name="head")
        x = pooled[:, None, None, :] if self.conv_head else pooled
        logits = outputs["logits"] = head(x).reshape(-1, self.num_classes)
        return outputs if features else logits

    def scan_groups(self) -> tuple[ScanGroup, ...]:
        """Return the blocks that `scan` runs as one loop, of every stage that has such."""
        later = [block_names(stage, size)[1:] for stage, size in enumerate(self.stage_sizes, start=1)]
        return tuple(names for names in later if self.scan and len(names) > 1)
