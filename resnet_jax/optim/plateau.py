"""Rates that fall where the training loss does not: which optimizers have them, and the factor that is in force."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax.contrib import ReduceLROnPlateauState, reduce_on_plateau

# Optimizers whose updates are proportional to the rate of the moment; the others' momentum holds rates of before.
FOLLOWS_PLATEAU = ("sgd", "adamw", "lamb")


def fall_on_plateau(*, factor: float, patience: int, epoch_steps: int) -> optax.GradientTransformation:
    """Return the last stage of a chain, which multiplies the updates by a factor, 1 at first.

    Args:
        factor: what the factor is multiplied by on a plateau, in (0, 1).
        patience: epochs in a row whose mean loss is not below the lowest before by a ten-thousandth of it (optax's
            default), by which a plateau is known.
        epoch_steps: steps of an epoch.

    Returns:
        A transformation whose `update` takes the loss of the step as `value`.
    """
    plateau = reduce_on_plateau(factor=factor, patience=patience, accumulation_size=epoch_steps)

    def init(params: Any) -> ReduceLROnPlateauState:
        state: Any = plateau.init(params)
        # optax begins with a lowest loss of infinity, and a training stops where its state is not finite.
        return state._replace(best_value=jnp.full_like(state.best_value, jnp.finfo(state.best_value.dtype).max))

    return optax.GradientTransformationExtraArgs(init, plateau.update)


def plateau_scale(opt_state: Any) -> jax.Array:
    """Return the factor of the rate in an optimizer's state; 1 where the schedule alone decides."""

    def is_plateau(node: Any) -> bool:
        return isinstance(node, ReduceLROnPlateauState)

    found = [node for node in jax.tree.leaves(opt_state, is_leaf=is_plateau) if is_plateau(node)]
    return jnp.asarray(found[0].scale) if found else jnp.ones(())
