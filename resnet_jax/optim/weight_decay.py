"""Which parameters decay, and by how much."""

from typing import Any

import optax

from resnet_jax.optim.lr_scale import learning_rate_multipliers
from resnet_jax.optim.param_paths import by_path, is_kernel, is_norm_bias, map_with_path


def decay_mask(params: Any) -> Any:
    """True for the leaves that decay when norms and biases do not: kernels.

    By name: scales and biases have one axis, but two where those of several blocks are stacked.
    """
    return map_with_path(lambda path, _: is_kernel(path), params)


def norm_bias_mask(params: Any) -> Any:
    """True for the biases of normalizations."""
    return map_with_path(lambda path, _: is_norm_bias(path), params)


def all_but_norm_bias_mask(params: Any) -> Any:
    """False for the biases of normalizations."""
    return map_with_path(lambda path, _: not is_norm_bias(path), params)


def add_decay(
    weight_decay: float, *, decay_norm_and_bias: bool = True, norm_bias_rate: float = 1.0
) -> optax.GradientTransformation:
    """Add coefficient times parameter to the updates.

    The coefficient is `weight_decay`, but `weight_decay / norm_bias_rate` for the biases of normalizations: rate times
    coefficient, which is what a step takes away, is then the same for all (airbench).

    Args:
        weight_decay: the coefficient.
        decay_norm_and_bias: whether all parameters decay, or kernels alone.
        norm_bias_rate: what `learning_rate_multipliers` was given.
    """
    if not decay_norm_and_bias:
        return optax.add_decayed_weights(weight_decay, mask=decay_mask)
    if norm_bias_rate == 1.0:
        return optax.add_decayed_weights(weight_decay)
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask=all_but_norm_bias_mask),
        optax.add_decayed_weights(weight_decay / norm_bias_rate, mask=norm_bias_mask),
    )


def rates_and_decays(
    params: Any,
    *,
    weight_decay: float,
    decay_norm_and_bias: bool = True,
    layer_decay: float = 1.0,
    norm_bias_rate: float = 1.0,
) -> dict[str, tuple[float, float]]:
    """For printing: by path, what a parameter's rate is multiplied by, and its decay coefficient.

    It knows no optimizer: "lars" and "lamb" never decay norms and biases, "muon" has another rate for some.
    """

    def coefficient(path: str, _: Any) -> float:
        if not decay_norm_and_bias and not is_kernel(path):
            return 0.0
        return weight_decay / norm_bias_rate if is_norm_bias(path) else weight_decay

    rates = learning_rate_multipliers(params, layer_decay=layer_decay, norm_bias_rate=norm_bias_rate)
    decays = by_path(map_with_path(coefficient, params))
    return {path: (rate, decays[path]) for path, rate in by_path(rates).items()}
