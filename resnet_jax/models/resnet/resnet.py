"""ResNet (He et al. 2015, arXiv:1512.03385); `resnet_family.py` has its depths and variants by name.

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
from resnet_jax.layers.norm import BatchNorm
from resnet_jax.layers.stochastic_depth import StochasticDepth
from resnet_jax.models.resnet.scan import ScanGroup, repeat
from resnet_jax.models.resnet.shortcuts import MERGES, SHORTCUTS
from resnet_jax.models.resnet.stems import STEMS, apply_stem, pool_stem

GROUPS = 32  # of GroupNorm, as in BiT

NORMS = ("batch", "frozen", "group")

PARTS = {"shortcut": SHORTCUTS, "merge": MERGES, "stem": STEMS, "attention": ATTENTION, "norm": NORMS}


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
        preact: the blocks are pre-activation blocks: no normalization in the stem, one before the head.
        attention: a name in `attention.ATTENTION`, at the end of every residual branch; "" is none.
        blur: subsample with a blur (the stem's pooling; blocks take `blur` themselves).
        blur_strides: blur before every convolution that strides (ffcv); see `layers.Conv`.
        norm: "batch", "frozen" (batch normalization that never changes) or "group" (32 groups of channels).
        standardize: weight-standardized convolutions.
        stochastic_depth: probability with which the last block is left out in training; it rises linearly from 0.
        output_stride: pixels of the image per pixel of the last stage, at most. A stage that would go beyond keeps
            its resolution, and its convolutions are dilated instead, so that each still sees what it saw
            (8 or 16, for dense prediction).
        bn_group_size: examples normalized together; 0 is the whole global batch.
        zero_init: start the last normalization scale (in pre-activation blocks, the last convolution) of every block
            at zero (Goyal et al. 2017), so that each block starts as its shortcut.
        conv_head: the classifier is a 1x1 convolution, as in the weights of BiT and of timm's pre-activation nets.
        scan: run the blocks of each stage, all but its first, as the iterations of one loop: the program and the time
            to compile it hardly grow with the depth. Variables, and so checkpoints, are those of the unrolled network;
            the random draws of stochastic depth are others.
        remat: keep only each block's input for the backward pass and compute the rest of the block again: a third more
            work for a fraction of the memory. Here too stochastic depth draws otherwise.
        dtype: type of the computation; parameters, statistics and logits are float32 under every choice.
        param_dtype: type in which parameters are stored.

    Raises:
        ValueError: an unknown shortcut, stem or other named part; `zero_init` without shortcuts, where the network
            would be zero for ever; an `output_stride` that the stem alone exceeds.
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
        if self.zero_init and self.shortcut == "none":
            raise ValueError("zero_init needs shortcuts: a plain network with zero scales passes nothing on")
        if self.output_stride < STEMS[self.stem].total_stride:
            raise ValueError(f"output_stride={self.output_stride}: the stem alone has {STEMS[self.stem].total_stride}")
        if self.zero_init and self.standardize:
            raise ValueError("zero_init: a standardized kernel of zeros is divided by its own deviation, zero")
        if self.merge != "add" and self.shortcut == "none":
            raise ValueError(f"merge={self.merge!r} needs a shortcut to merge")
        if self.norm == "group" and any(c % GROUPS for c in (self.width, *STEMS[self.stem].hidden)):
            raise ValueError(f"norm='group' needs multiples of {GROUPS} channels, in the stem too; width={self.width}")
        if not 0 <= self.stochastic_depth < 1:
            raise ValueError(f"stochastic_depth={self.stochastic_depth} must be at least 0 and below 1")
        super().__post_init__()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False, features: bool = False):
        """Logits [B,K]; with `features`, a dict of the stem's, each stage's, the pooled and the logits' values."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv = partial(Conv, standardize=self.standardize, blur=self.blur_strides, **types)
        norm = partial(
            BatchNorm,
            use_running_average=not train,
            group_size=self.bn_group_size,
            frozen=self.norm == "frozen",
            **types,
        )
        if self.norm == "group":
            norm = partial(nn.GroupNorm, num_groups=GROUPS, epsilon=1e-5, **types)
        block = partial(
            self.block,
            conv=conv,
            norm=norm,
            shortcut=SHORTCUTS[self.shortcut],
            merge=partial(MERGES[self.merge], conv=conv, train=train),
            zero_last=self.zero_init,
        )
        attention = ATTENTION[self.attention]

        def build(rate: Any, **shape_and_place: Any) -> nn.Module:
            drop = partial(StochasticDepth, rate, not train)
            branch_end = partial(end_branch, attention=attention, drop=drop, conv=conv)
            return block(branch_end=branch_end, **shape_and_place)

        stem = STEMS[self.stem]
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
            names = block_names(stage, size)
            depth = sum(self.stage_sizes[: stage - 1])
            rates = [self.stochastic_depth * (depth + index) / max(1, last) for index in range(size)]
            alike = partial(build, filters=self.width * 2 ** (stage - 1), dilation=dilation)
            first = partial(alike, strides=strides, dilation_before=dilation_before)
            later = partial(alike, strides=1, dilation_before=dilation)
            x = self.run_blocks(first, names[:1], rates[:1], x)
            x = self.run_blocks(later, names[1:], rates[1:], x)
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

    def scan_groups(self) -> tuple[ScanGroup, ...]:
        """The blocks that `scan` runs as one loop, in every stage that has such."""
        later = [block_names(stage, size)[1:] for stage, size in enumerate(self.stage_sizes, start=1)]
        return tuple(names for names in later if self.scan and len(names) > 1)

    def run_blocks(
        self, build: Callable[..., nn.Module], names: Sequence[str], rates: Sequence[float], x: jax.Array
    ) -> jax.Array:
        """Sends x through the blocks of those names, which differ in their rate of stochastic depth alone."""
        scan = self.scan and len(names) > 1  # as in `scan_groups`
        if self.is_initializing() or not (scan or self.remat):
            for name, rate in zip(names, rates, strict=True):
                x = build(rate, name=name)(x)
            return x
        return repeat(self, partial(build, parent=None), names, rates, x, scan=scan, remat=self.remat)


def block_names(stage: int, size: int) -> ScanGroup:
    """The blocks of a stage, which counts from 1; they sort as they run, also where there are 200."""
    digits = max(2, len(str(size)))
    return tuple(f"stage{stage}_block{index + 1:0{digits}d}" for index in range(size))


def end_branch(y: jax.Array, *, attention: Callable | None, drop: Callable, conv: Callable) -> jax.Array:
    """What follows the last normalization of a residual branch; its layers belong to the calling block."""
    if attention is not None:
        y = attention(conv=conv, name="attention")(y)
    return drop(name="drop")(y)
