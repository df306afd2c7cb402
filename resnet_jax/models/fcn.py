"""Fully convolutional segmentation (Long et al. 2015, arXiv:1411.4038) on a ResNet, as torchvision has it."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from resnet_jax.layers.conv import Conv
from resnet_jax.layers.norm import BatchNorm
from resnet_jax.layers.pooling import resize_bilinear
from resnet_jax.models.around_backbone import AroundBackbone


class FCNHead(nn.Module):
    """A 3x3 convolution to a quarter of the channels and a 1x1 to the classes: [B,H,W,C] -> float32 [B,H,W,K]."""

    num_classes: int
    conv: Callable
    norm: Callable
    dropout: Callable

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.conv(x.shape[-1] // 4, 3, name="conv1")(x)
        x = self.dropout()(nn.relu(self.norm(name="norm1")(x)))
        return self.conv(self.num_classes, 1, use_bias=True, dtype=jnp.float32, name="conv2")(x)


class FCNHeads(nn.Module):
    """The heads of a fully convolutional network: the stages of an encoder -> float32 logits [B,H,W,K].

    Attributes:
        num_classes: K.
        aux_head: build the auxiliary head, on the last stage but one.
        dropout: probability with which a value is zeroed before the classes in training.
        bn_group_size: examples normalized together; 0 is the whole global batch.
        dtype: type of the computation; parameters, statistics and logits are float32 under every choice.
        param_dtype: type in which parameters are stored.
    """

    num_classes: int = 21
    aux_head: bool = True
    dropout: float = 0.1
    bn_group_size: int = 0
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, stages: dict[str, jax.Array], size: Sequence[int], train: bool = False) -> dict[str, jax.Array]:
        """Return "logits" [B,H,W,K] of height and width `size`, and in training "aux1", the auxiliary head's."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        head = partial(
            FCNHead,
            self.num_classes,
            conv=partial(Conv, **types),
            norm=partial(BatchNorm, use_running_average=not train, group_size=self.bn_group_size, **types),
            dropout=partial(nn.Dropout, self.dropout, deterministic=not train),
        )
        before_last, last = self.reads(stages)
        outputs = {"logits": resize_bilinear(head(name="head")(stages[last]), *size)}
        # Initialization builds the head in evaluation too: the parameters do not depend on `train`.
        if self.aux_head and (train or self.is_initializing()):
            outputs["aux1"] = resize_bilinear(head(name="aux1")(stages[before_last]), *size)
        return outputs

    @staticmethod
    def reads(outputs: Iterable[str]) -> list[str]:
        """Return which of a backbone's outputs it reads, the last two stages."""
        return sorted(name for name in outputs if name.startswith("stage"))[-2:]


class FCN(AroundBackbone):
    """A fully convolutional network: images [B,H,W,3] -> float32 logits [B,H,W,K].

    In training the auxiliary head runs too, on the last stage but one, and `features=True` returns its logits
    [B,H,W,K] as "aux1" for the loss. In evaluation it does not run.

    Attributes:
        num_classes: K; torchvision's weights have 21, the classes of PASCAL VOC.
        aux_head: build the auxiliary head; a trained network does not need it.
        aux_weight: of its loss in training; torchvision's.
        dropout: probability with which a value is zeroed before the classes in training. Draws from the "dropout"
            key.

    The others are those of `AroundBackbone`.
    """

    PART = FCNHeads

    num_classes: int = 21
    aux_head: bool = True
    aux_weight: float = 0.5
    dropout: float = 0.1
