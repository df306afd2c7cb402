"""A network for dense prediction: a classifier as the encoder, and a part that turns its stages into logits."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from resnet_jax.layers.pooling import refuse_empty


class AroundBackbone(nn.Module):
    """Base of networks for dense prediction: images [B,H,W,3] -> float32 logits [B,H,W,K].

    The images may have any size of which the encoder leaves a pixel. A subclass names the part behind the encoder, and
    has its fields: the part's parameters stand beside "backbone".

    Attributes:
        backbone: creates a network without a head, any whose `features=True` returns "stem" and stages, from `name`,
            `dtype`, `param_dtype` and, if the network has it and it is set, `bn_group_size`.
        bn_group_size: examples normalized together; 0 is the whole global batch.
        dtype: type of the computation; parameters, statistics and logits are float32 under every choice.
        param_dtype: type in which parameters are stored.
    """

    PART: ClassVar[Any]

    backbone: Callable[..., nn.Module]
    # By name alone: a subclass's own fields follow the backbone, `BackboneUNet(backbone, num_classes)`.
    bn_group_size: int = dataclasses.field(default=0, kw_only=True)
    dtype: Any = dataclasses.field(default=jnp.float32, kw_only=True)
    param_dtype: Any = dataclasses.field(default=jnp.float32, kw_only=True)

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False, features: bool = False):
        """Return logits [B,H,W,K]; with `features`, the backbone's dict, and the part's outputs with these logits."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        # A backbone without normalization has no such option.
        has_groups = self.bn_group_size and hasattr(self.backbone(parent=None), "bn_group_size")
        group = {"bn_group_size": self.bn_group_size} if has_groups else {}
        backbone = self.backbone(name="backbone", **types, **group)
        outputs = backbone(images, train=train, features=True)
        decoder = self.decoder()
        for stage in decoder.reads(outputs):
            refuse_empty(*outputs[stage].shape[1:3])
        nn.share_scope(self, decoder)
        outputs |= decoder(outputs, images.shape[1:3], train)
        return outputs if features else outputs["logits"]

    @nn.nowrap
    def decoder(self) -> Any:
        """Return the part behind the encoder by itself; its parameters are the network's without "backbone"."""
        names = [field.name for field in dataclasses.fields(self.PART) if field.name not in ("name", "parent")]
        return self.PART(**{name: getattr(self, name) for name in names})
