"""U-Net: Ronneberger et al. 2015 (arXiv:1505.04597), and its decoder on the stages of any backbone."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from resnet_jax.layers.conv import Conv
from resnet_jax.layers.norm import BatchNorm
from resnet_jax.layers.pooling import max_pool, resize_bilinear
from resnet_jax.models.around_backbone import AroundBackbone

# The paper's initialization: variance 2 / fan_in.
he_normal_fan_in = nn.initializers.variance_scaling(2.0, "fan_in", "normal")


class UNet(nn.Module):
    """The paper's network: images [B,H,W,C] -> float32 logits [B,H,W,K].

    Attributes:
        num_classes: K.
        width: filters at full resolution; each of the four halvings doubles them.
        padded: pad every 3x3 convolution, so that logits are as large as the image, for any image size. The paper
            does not, which makes them 184 pixels smaller (572 -> 388).
        batch_norm: normalize after every 3x3 convolution, which then has no bias; the paper does not.
        dropout: probability with which a value of the lowest resolution is zeroed in training; the paper has dropout
            there at an unpublished rate. Draws from the "dropout" key.
        bn_group_size: examples normalized together; 0 is the whole global batch.
        dtype: type of the computation; parameters, statistics and logits are float32 under every choice.
        param_dtype: type in which parameters are stored.

    Raises:
        ValueError: unpadded, on an image whose sides are not 16 n + 12 and at least 188: a pooling would lose a pixel.
    """

    num_classes: int = 2
    width: int = 64
    padded: bool = True
    batch_norm: bool = False
    dropout: float = 0.0
    bn_group_size: int = 0
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False, features: bool = False):
        """Return logits [B,H,W,K]; with `features`, a dict of the outputs at every resolution, down and up, with them.

        Down: "stem" (stride 1), "stage1" (2) to "stage4" (16); up: "decoder1" (8) to "decoder4" (1). "pooled" [B,C]
        is the average of "stage4".
        """
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        if not self.padded and any(side < 188 or side % 16 != 12 for side in images.shape[1:3]):
            raise ValueError(f"unpadded, the sides must be 188, 204, 220, …, 572, …, not {images.shape[1:3]}")
        conv = partial(
            Conv,
            use_bias=not self.batch_norm,
            padding=None if self.padded else 0,
            kernel_init=he_normal_fan_in,
            **types,
        )
        norm = partial(BatchNorm, use_running_average=not train, group_size=self.bn_group_size, **types)
        twice = partial(Convs, count=2, conv=conv, norm=norm if self.batch_norm else None)
        dropout = nn.Dropout(self.dropout, deterministic=not train)

        outputs = {}
        x = outputs["stem"] = twice(self.width, name="stem")(images)
        for stage in range(1, 5):
            x = twice(self.width * 2**stage, name=f"stage{stage}")(max_pool(x, size=2, padding=0))
            x = outputs[f"stage{stage}"] = dropout(x) if stage == 4 else x
        outputs["pooled"] = x.astype(jnp.float32).mean(axis=(1, 2))
        for step, skip in enumerate(("stage3", "stage2", "stage1", "stem"), start=1):
            filters = self.width * 2 ** (4 - step)
            x = UpConv(filters, name=f"decoder{step}_up", **types)(x)
            x = jnp.concatenate(match_sizes(outputs[skip], x), axis=-1)
            x = outputs[f"decoder{step}"] = twice(filters, name=f"decoder{step}")(x)
        outputs["logits"] = Conv(self.num_classes, 1, use_bias=True, param_dtype=self.param_dtype, name="head")(x)
        return outputs if features else outputs["logits"]


class Convs(nn.Module):
    """3x3 convolutions with ReLUs, normalized if there is a `norm`: [B,H,W,C] -> [B,H,W,filters]."""

    filters: int
    count: int
    conv: Callable
    norm: Callable | None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for index in range(1, self.count + 1):
            x = self.conv(self.filters, 3, name=f"conv{index}")(x)
            x = nn.relu(self.norm(name=f"norm{index}")(x) if self.norm else x)
        return x


class UpConv(nn.Module):
    """A transposed 2x2 convolution of stride 2: [B,H,W,C] -> [B,2H,2W,filters]."""

    filters: int
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, height, width, channels = x.shape
        # Each output has one input pixel, not the four that flax counts for a 2x2 kernel.
        init = nn.initializers.variance_scaling(4 * 2.0, "fan_in", "normal")
        kernel = self.param("kernel", init, (2, 2, channels, self.filters), self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.filters,), self.param_dtype)
        # The windows do not overlap, so each of the four pixels is a matrix product of its own.
        y = jnp.einsum("bhwc,ijcf->bhiwjf", x.astype(self.dtype), kernel.astype(self.dtype))
        y = y.reshape(batch, 2 * height, 2 * width, self.filters)
        return y + bias.astype(self.dtype).reshape(1, 1, 1, -1)


def match_sizes(skip: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return both at one size: the skip is cropped at its center to the size of x (unpadded convolutions).

    Where it has one pixel more, because a pooling dropped an odd one, x is padded with zeros at the far side instead.
    """
    spare = [skip.shape[axis] - x.shape[axis] for axis in (1, 2)]
    x = jnp.pad(x, ((0, 0), *((0, s % 2) for s in spare), (0, 0)))
    top, left = (s // 2 for s in spare)
    for axis, start in ((1, top), (2, left)):
        skip = jax.lax.slice_in_dim(skip, start, start + x.shape[axis], axis=axis)
    return skip, x


SKIPS = ("concat", "add", "none")


class Decoder(nn.Module):
    """The way up of a U-Net: the stages of an encoder -> float32 logits [B,H,W,K].

    Each step resizes to the next finer stage, joins that stage and convolves. With "concat" this is the decoder of
    segmentation_models_pytorch's U-Net, with bilinear resizing; with "add" that of Feature Pyramid Networks (Lin et al.
    2017, arXiv:1612.03144), whose cost hardly depends on the encoder's width.

    Attributes:
        num_classes: K.
        filters: of each step up; the last has the image's size and no stage to join. Empty: 16 in the last, twice as
            many in each before, 256 at most.
        skips: how a stage is joined: "concat" appends it, and two convolutions follow; "add" projects it by a 1x1
            convolution to `width` channels and adds it, and one convolution follows; "none" leaves the stages out.
        width: channels of the whole decoder with "add".
        bn_group_size: examples normalized together; 0 is the whole global batch.
        dtype: type of the computation; parameters, statistics and logits are float32 under every choice.
        param_dtype: type in which parameters are stored.

    Raises:
        ValueError: an unknown kind of skips, or as many filters as do not fit the stages.
    """

    num_classes: int = 1
    filters: Sequence[int] = ()
    skips: str = "concat"
    width: int = 96
    bn_group_size: int = 0
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, stages: dict[str, jax.Array], size: Sequence[int], train: bool = False) -> dict[str, jax.Array]:
        """Return "decoder1" and on, and "logits" [B,H,W,K] of height and width `size`."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv = partial(Conv, **types)
        norm = partial(BatchNorm, use_running_average=not train, group_size=self.bn_group_size, **types)
        *finer, coarsest = self.reads(stages)
        all_filters = self.filters or [min(256, 16 * 2**step) for step in range(len(finer), -1, -1)]
        if len(all_filters) != len(finer) + 1:
            raise ValueError(f"{len(all_filters)} steps up do not fit a backbone of {len(finer)} stages and a stem")
        add, outputs = self.skips == "add", {}
        x = conv(self.width, 1, name="lateral0")(stages[coarsest]) if add else stages[coarsest]
        for step, filters in enumerate(all_filters, start=1):
            skip = stages[finer[-step]] if step <= len(finer) else None
            if add and skip is None:
                break  # nothing is left to add, and to resize the logits costs less
            x = resize_bilinear(x, *(size if skip is None else skip.shape[1:3]))
            if skip is not None and self.skips == "concat":
                x = jnp.concatenate([x, skip], axis=-1)
            elif skip is not None and add:
                x += conv(self.width, 1, name=f"lateral{step}")(skip)
            convs = Convs(self.width if add else filters, 1 if add else 2, conv=conv, norm=norm, name=f"decoder{step}")
            x = outputs[f"decoder{step}"] = convs(x)
        x = Conv(self.num_classes, 3, use_bias=True, param_dtype=self.param_dtype, name="head")(x)
        return outputs | {"logits": resize_bilinear(x, *size)}

    @staticmethod
    def reads(outputs: Iterable[str]) -> list[str]:
        """Return which of a backbone's outputs it reads, from the finest, the stem's, to the coarsest."""
        return ["stem", *sorted(name for name in outputs if name.startswith("stage"))]


class BackboneUNet(AroundBackbone):
    """A U-Net with a classifier as its encoder: images [B,H,W,3] -> float32 logits [B,H,W,K].

    Its fields are those of `AroundBackbone` and of `Decoder`.
    """

    PART = Decoder

    num_classes: int = 1
    filters: Sequence[int] = ()
    skips: str = "concat"
    width: int = 96

    def __post_init__(self):
        if self.skips not in SKIPS:
            raise ValueError(f"skips={self.skips!r} is none of {', '.join(SKIPS)}")
        super().__post_init__()


MODELS: dict[str, Callable[..., nn.Module]] = {"unet": UNet}
