"""Multipliers of the learning rate, by parameter."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from resnet_jax.errors import InputError
from resnet_jax.optim.param_paths import STEM, by_path, is_norm_bias, layer_of, map_with_path


def learning_rate_multipliers(
    params: Any, *, layer_decay: float = 1.0, norm_bias_rate: float = 1.0, head_rate: float = 1.0
) -> Any:
    """Return the tree of the multipliers of each parameter's learning rate.

    With `layer_decay`, the head has `head_rate`, the last block `layer_decay`, the one before it `layer_decay` squared,
    and so on down to the stem, which is one layer (timm's `lr_scale` for ResNets; in pre-activation networks timm
    counts the last normalization as a layer of its own, here it goes with the head).

    Args:
        params: parameters, or anything of their structure.
        layer_decay: in (0, 1]; 1: every layer alike.
        norm_bias_rate: a further multiplier, of the biases of normalizations (airbench: 64).
        head_rate: the head's, and that of all that comes after the last block.
    """
    layers = {layer for path in by_path(params) if (layer := layer_of(path)) is not None}
    exponents = {layer: exponent for exponent, layer in enumerate(sorted(layers, reverse=True), start=1)}

    def multiplier(path: str, _: Any) -> float:
        layer = layer_of(path)
        by_depth = head_rate if layer is None else layer_decay ** exponents[layer]
        return by_depth * (norm_bias_rate if is_norm_bias(path) else 1.0)

    return map_with_path(multiplier, params)


def scale_learning_rates(
    *, layer_decay: float = 1.0, norm_bias_rate: float = 1.0, head_rate: float = 1.0
) -> optax.GradientTransformation:
    """Multiply the updates by `learning_rate_multipliers`.

    It comes after everything that has the learning rate in it: decoupled decay is scaled too, as in torch's parameter
    groups. A momentum of learning rate times gradient may come before it, because the multipliers are constant in time.

    Raises:
        InputError: a `layer_decay` outside (0, 1], or another rate that is not positive.
    """
    if not 0.0 < layer_decay <= 1.0:
        raise InputError(f"--layer_decay={layer_decay}: give a number in (0, 1]; with 1 all layers learn alike")
    if not norm_bias_rate > 0.0:
        raise InputError(f"--norm_bias_rate={norm_bias_rate}: give a number above 0; with 1 they learn like the others")
    if not head_rate > 0.0:
        raise InputError(f"--head_rate={head_rate}: give a number above 0; with 1 the head learns like the others")
    multipliers = partial(
        learning_rate_multipliers, layer_decay=layer_decay, norm_bias_rate=norm_bias_rate, head_rate=head_rate
    )
    return optax.stateless(lambda updates, _: jax.tree.map(jnp.multiply, updates, multipliers(updates)))


def freeze_stem(*, after: int) -> optax.GradientTransformation:
    """Freeze the stem after `after` steps; comes last in a chain."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        free = (state < after).astype(jnp.float32)
        frozen = map_with_path(lambda path, u: u * free if layer_of(path) == STEM else u, updates)
        return frozen, optax.safe_increment(state)

    return optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)
