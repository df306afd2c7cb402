"""Weight decay, and the masks that say which parameters decay."""

from typing import Any

import optax

from resnet_jax.optim.param_paths import is_kernel, is_norm_bias, map_with_path


def decay_mask(params: Any) -> Any:
    """Return True for the leaves that decay when norms and biases do not: kernels.

    By name: scales and biases have one axis, but two where those of several blocks are stacked.
    """
    return map_with_path(lambda path, _: is_kernel(path), params)


def norm_bias_mask(params: Any) -> Any:
    """Return True for the biases of normalizations."""
    return map_with_path(lambda path, _: is_norm_bias(path), params)


def all_but_norm_bias_mask(params: Any) -> Any:
    """Return False for the biases of normalizations."""
    return map_with_path(lambda path, _: not is_norm_bias(path), params)


def add_decay(
    weight_decay: float, *, decay_norm_and_bias: bool = True, norm_bias_rate: float = 1.0
) -> optax.GradientTransformation:
    """Add coefficient times parameter to the updates.

    The coefficient is `weight_decay`, but `weight_decay / norm_bias_rate` for the biases of normalizations: learning
    rate times coefficient, the decay of a step, is then the same for all (airbench).

    Args:
        weight_decay: the coefficient.
        decay_norm_and_bias: decay all parameters, or kernels alone.
        norm_bias_rate: the multiplier of their learning rate, as in `learning_rate_multipliers`.
    """
    if not decay_norm_and_bias:
        return optax.add_decayed_weights(weight_decay, mask=decay_mask)
    if norm_bias_rate == 1.0:
        return optax.add_decayed_weights(weight_decay)
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask=all_but_norm_bias_mask),
        optax.add_decayed_weights(weight_decay / norm_bias_rate, mask=norm_bias_mask),
    )
