"""Networks by name."""

import difflib
import re
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from resnet_jax.errors import InputError
from resnet_jax.models import airbench, alexnet, densenet, fcn, googlenet, highway, unet, vgg
from resnet_jax.models.resnet import variants

FAMILIES = (variants, densenet, highway, alexnet, vgg, googlenet, fcn, unet, airbench)
MODELS = {name: build for family in FAMILIES for name, build in family.MODELS.items()}
ANY_DEPTH = variants.ANY_DEPTH


def list_models() -> list[str]:
    """Return every name that `create_model` knows, sorted; CIFAR's ResNets exist at any depth besides."""
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
    build = MODELS.get(name)
    if build is None:
        matches = [(re.fullmatch(pattern, name), family) for pattern, family in ANY_DEPTH.items()]
        build = next((partial(family, *map(int, m.groups())) for m, family in matches if m), None)
    if build is None:
        close = difflib.get_close_matches(name, MODELS, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(list_models())}"
        raise InputError(f"--model={name}: there is no such network; {hint}")
    if num_classes is not None:
        overrides["num_classes"] = num_classes
    try:
        return build(dtype=dtype, **overrides)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: {error}") from error
