"""Networks by name."""

import dataclasses
import difflib
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from resnet_jax.errors import InputError
from resnet_jax.models import airbench, alexnet, densenet, fcn, googlenet, highway, unet, vgg
from resnet_jax.models.resnet import variants

FAMILIES = (variants, densenet, highway, alexnet, vgg, googlenet, unet, airbench)
ANY_DEPTH = variants.ANY_DEPTH
# Networks for dense prediction on any classifier of the registry, as "unet_resnet50_v1".
ON_BACKBONE: dict[str, Any] = {"unet": unet.BackboneUNet, "fcn": fcn.FCN}
FCN_STRIDE = 8  # torchvision's


def builder_of(name: str) -> Callable[..., nn.Module]:
    """Return what builds the network of that name from its options.

    Raises:
        InputError: an unknown name or depth.
    """
    build = MODELS.get(name) or on_backbone(name)
    if build is None:
        matches = [(re.fullmatch(pattern, name), family) for pattern, family in ANY_DEPTH.items()]
        build = next((partial(family, *map(int, m.groups())) for m, family in matches if m), None)
    if build is None:
        close = difflib.get_close_matches(name, MODELS, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(list_models())}"
        raise InputError(f"--model={name}: there is no such network; {hint}")
    return build


def backbone_name(name: str) -> str:
    """Return the classifier that a network for dense prediction is made of; "" where it is made of none."""
    kind, _, backbone = name.partition("_")
    return backbone if kind in ON_BACKBONE else ""


def classifies_pixels(name: str) -> bool:
    """Return whether the logits of the network of that name are those of pixels."""
    return bool(backbone_name(name)) or name in unet.MODELS


def on_backbone(name: str) -> Callable[..., nn.Module] | None:
    """Return what builds "unet_NAME" or "fcn_NAME" on any classifier; None of another name.

    Options that the network for dense prediction does not have are its encoder's.
    """
    backbone = backbone_name(name)
    if not backbone or backbone in ON_BACKBONE or backbone_name(backbone):
        return None
    kind = ON_BACKBONE[name.partition("_")[0]]

    def build(**options: Any) -> nn.Module:
        own = {field.name for field in dataclasses.fields(kind)}
        of_encoder = {option: value for option, value in options.items() if option not in own}
        if kind is fcn.FCN and hasattr(create_model(backbone), "output_stride"):
            of_encoder = {"output_stride": FCN_STRIDE} | of_encoder
        encoder = partial(builder_of(backbone), num_classes=0, **of_encoder)
        encoder()  # what it cannot have is refused here
        return kind(encoder, **{option: value for option, value in options.items() if option in own})

    return build


def list_models() -> list[str]:
    """Return every name that `create_model` knows, sorted; CIFAR's ResNets exist at any other depth too."""
    return sorted(MODELS, key=lambda name: [int(s) if s.isdigit() else s for s in re.split(r"(\d+)", name)])


def create_model(name: str, *, num_classes: int | None = None, dtype: Any = jnp.float32, **overrides) -> nn.Module:
    """Create the network of that name: a flax module from images [B,H,W,3] to float32 logits.

    Logits are [B,num_classes], and [B,H,W,num_classes] from a network for dense prediction (`fcn_*`, `unet*`).

    Args:
        name: one of `list_models()`, or a CIFAR network of any depth, such as `resnet26_cifar` or `wrn16_4_cifar`.
        num_classes: width of the head; None is the family's own (1000 for ImageNet's networks, 10 for CIFAR's,
            21 for FCN's).
        dtype: type of the computation; parameters stay float32.
        **overrides: options of the network, such as `bn_group_size=32` or `zero_init=True`.

    Raises:
        InputError: an unknown name, depth or option.
    """
    build = builder_of(name)
    if num_classes is not None:
        overrides["num_classes"] = num_classes
    try:
        return build(dtype=dtype, **overrides)
    except (TypeError, ValueError) as error:
        if unknown := re.search(r"unexpected keyword argument '(\w+)'", str(error)):
            raise InputError(f"{name} has no option {unknown[1]}; leave it out") from error
        raise InputError(f"{name}: {error}") from error


_LISTED_ON_BACKBONES = ("fcn_resnet50", "fcn_resnet101", "unet_resnet18", "unet_resnet34", "unet_resnet50")
MODELS: dict[str, Callable[..., nn.Module]] = {
    **{name: build for family in FAMILIES for name, build in family.MODELS.items()},
    **{name: build for name in _LISTED_ON_BACKBONES if (build := on_backbone(name))},
}
