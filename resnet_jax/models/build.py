"""The door of the room: networks from a config, and what a config's network must be able to do."""

from contextlib import suppress
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from resnet_jax.config.options import Config
from resnet_jax.errors import InputError
from resnet_jax.layers.norm import SingleValueError
from resnet_jax.models.counts import abstract_variables
from resnet_jax.models.registry import create_model

# Options of networks that are flags too.
NETWORK_OPTIONS = (
    *("bn_group_size", "shortcut", "stem", "norm", "stochastic_depth", "width", "dropout"),
    *("scan", "remat"),
    *("skips", "output_stride"),
)
# Those that a recipe has for every network, and a network that cannot have them goes without.
WISHES = ("zero_init", "blur_strides")


def build_model(config: Config, num_classes: int) -> nn.Module:
    """Build the network of a config; options left empty there are the network's own.

    Of `WISHES` it has those that it can have.

    Raises:
        InputError: no network named, or an option that it does not have.
    """
    if not config.model:
        raise InputError("name a network: --model=NAME or --depth=LAYERS; in Python, Config(model=NAME)")
    options: dict[str, Any] = {name: getattr(config, name) for name in NETWORK_OPTIONS if getattr(config, name)}
    build = partial(create_model, config.model, num_classes=num_classes, dtype=jnp.dtype(config.dtype).type)
    model = build(**options)
    for wish in WISHES:
        if getattr(config, wish):
            with suppress(InputError):
                model = build(**options, **{wish: True})
                options[wish] = True
    return model


def check_classifier(model: nn.Module, name: str, image_size: int, *, pixels: bool = False) -> None:
    """Refuse a network that does not classify images; or, with `pixels`, one that does not classify pixels.

    Raises:
        InputError: its logits are those of the other, or it cannot take images of this size.
    """
    image = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    try:
        variables = abstract_variables(model, image_size)
        logits: Any = jax.eval_shape(lambda v, x: model.apply(v, x, train=False), variables, image)
    except ValueError as error:  # groups of channels that do not divide them, or a block that refuses its options
        raise InputError(f"--model={name} at {image_size} pixels: {str(error).splitlines()[0]}") from error
    if pixels and len(logits.shape) != 4:
        raise InputError(f"--model={name} classifies images, not pixels; take --model=unet_{name} or fcn_{name}")
    if not pixels and len(logits.shape) != 2:
        raise InputError(f"--model={name} classifies pixels, not images; experiments.segment trains it")


def check_examples_survive(model: Any, config: Config) -> None:
    """Refuse stochastic depth without shortcuts: nothing of an example would be left behind a block that is left out.

    Raises:
        InputError: the network is plain, or its encoder is.
    """
    network = model.backbone(parent=None) if callable(getattr(model, "backbone", None)) else model
    if config.stochastic_depth and getattr(network, "shortcut", "") == "none":
        raise InputError(
            f"--stochastic_depth={config.stochastic_depth} erases whole examples in {config.model}, which has no "
            "shortcuts; take --stochastic_depth=0"
        )


def check_batch_norm(model: nn.Module, config: Config, image_size: int) -> None:
    """Refuse a training in which a batch normalization gets a single value per channel, which it would turn into 0.

    Raises:
        InputError: the options whose examples are too few, and the remedy.
    """
    if config.bn_group_size:
        examples, cause = config.bn_group_size, f"--bn_group_size={config.bn_group_size}"
        remedy = "--bn_group_size=2 or more, or 0 for the whole batch"
    elif config.accumulate > 1:
        examples = config.batch_size // config.accumulate
        cause = f"--batch_size={config.batch_size} --accumulate={config.accumulate}"
        remedy = f"--accumulate={config.batch_size // 2} or less"
    else:
        examples, cause, remedy = config.batch_size, f"--batch_size={config.batch_size}", "--batch_size=2 or more"
    if examples > 1:
        return
    image = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    apply = partial(model.apply, train=True, mutable=["batch_stats"])
    try:
        jax.eval_shape(
            lambda v, x, key: apply(v, x, rngs={"dropout": key}),
            abstract_variables(model, image_size),
            image,
            jax.random.key(0),
        )
    except SingleValueError as error:
        raise InputError(
            f"{cause} leaves {config.model} at {image_size} pixels one value per channel to normalize; take {remedy}"
        ) from error
