from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from resnet_jax.config.options import Config
from resnet_jax.errors import InputError
from resnet_jax.models.counts import abstract_variables
from resnet_jax.models.registry import create_model

# Options of networks that are flags too; left empty, they are the network's own.
NETWORK_OPTIONS = (
    *("bn_group_size", "shortcut", "stem", "norm", "stochastic_depth", "width", "dropout"),
    *("scan", "remat"),
)


def build_model(config: Config, num_classes: int) -> nn.Module:
    """The network of a config; options left empty there are the network's own.

    Raises:
        InputError: no network named, or an option that it does not have.
    """
    if not config.model:
        raise InputError("name a network: --model=NAME or --depth=LAYERS")
    options = {name: getattr(config, name) for name in NETWORK_OPTIONS if getattr(config, name)}
    build = partial(create_model, config.model, num_classes=num_classes, dtype=jnp.dtype(config.dtype).type)
    model = build(**options)
    # Wishes of a recipe, where the network has such a thing.
    wishes = {}
    if config.zero_init and getattr(model, "shortcut", "none") != "none" and not getattr(model, "standardize", False):
        wishes["zero_init"] = True
    if config.blur_strides and hasattr(model, "blur_strides"):
        wishes["blur_strides"] = True
    return build(**options, **wishes) if wishes else model


def check_classifier(model: nn.Module, name: str, image_size: int) -> None:
    """Refuse a network that does not answer an image with one class.

    Raises:
        InputError: it answers every pixel, or cannot take images of this size.
    """
    image = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    variables = abstract_variables(model, image_size)
    logits: Any = jax.eval_shape(lambda v, x: model.apply(v, x, train=False), variables, image)
    if len(logits.shape) != 2:
        raise InputError(f"--model={name} classifies pixels, not images; this command trains classifiers")
