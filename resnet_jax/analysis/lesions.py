"""Lesion study: the error of a trained network without some of its blocks (Veit et al. 2016, arXiv:1605.06431).

Without any one block a residual network classifies nearly as before, except where a block changes the shape; error
rises smoothly with the number of removed blocks, as in an ensemble. A plain network without any one block falls to
chance.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from resnet_jax.analysis.capture import Array, blocks, name_of
from resnet_jax.analysis.map_batches import map_batches
from resnet_jax.errors import InputError
from resnet_jax.layers.stochastic_depth import StochasticDepth
from resnet_jax.models.resnet.scan import unrolled


def removable_blocks(model: nn.Module, variables: Any, images: Array) -> tuple[str, ...]:
    """Return the names of the blocks that can be removed: with a shortcut, or replaceable by the identity."""
    return tuple(b.name for b in blocks(model, variables, images) if b.has_shortcut or b.keeps_shape)


def apply_without(model: nn.Module, variables: Any, images: Array, removed: Mapping[str, Any]) -> jax.Array:
    """Compute the logits [B,K] of a network without some of its blocks, in evaluation.

    A removed block with a shortcut is reduced to the shortcut (its residual branch ends in zeros); any other block is
    replaced by the identity.

    Args:
        model: a network with blocks.
        variables: its variables.
        images: float32 [B,H,W,3], normalized.
        removed: bool by the name of a block, traced or not: remove it.

    Raises:
        InputError: no such block, or one that cannot be removed.
    """

    def intercept(call: Callable, args: tuple, kwargs: dict, context: nn.module.InterceptorContext) -> Any:
        output = call(*args, **kwargs)
        name, module = name_of(context.module), context.module
        if context.method_name != "__call__":
            return output
        if isinstance(module, StochasticDepth) and name.rpartition("/")[0] in shortcuts:
            return jnp.where(removed[name.rpartition("/")[0]], jnp.zeros_like(output), output)
        if name in removed and name not in shortcuts:
            return jnp.where(removed[name], args[0], output)
        return output

    known = {block.name: block for block in blocks(model, variables, images)}
    unfit = [n for n in removed if n not in known or not (known[n].has_shortcut or known[n].keeps_shape)]
    if unfit:
        raise InputError(f"{', '.join(unfit)}: no such block, or one that changes the shape and has no shortcut")
    shortcuts = {name for name in removed if known[name].has_shortcut}
    with nn.intercept_methods(intercept):
        logits: Any = unrolled(model).apply(variables, images, train=False)
    return logits


def errors_without(
    model: nn.Module,
    variables: Any,
    images: np.ndarray,
    labels: np.ndarray,
    removed: Sequence[Sequence[str]],
    *,
    batch_size: int = 250,
) -> np.ndarray:
    """Return the top-1 error without some blocks, for each of several choices; compiled once.

    Args:
        model: a network with blocks.
        variables: its variables, trained.
        images: float32 [N,H,W,3], normalized.
        labels: int32 [N].
        removed: L choices of blocks; an empty one is the whole network.
        batch_size: images computed at once.

    Returns:
        [L], fractions.

    Raises:
        InputError: no such block, or one that cannot be removed.
    """
    names = sorted({name for choice in removed for name in choice})

    @jax.jit
    def wrong(variables: Any, images: jax.Array, labels: jax.Array, gone: jax.Array) -> jax.Array:
        logits = apply_without(model, variables, images, dict(zip(names, gone, strict=True)))
        return logits.argmax(axis=-1) != labels

    def error(choice: Sequence[str]) -> float:
        gone = np.isin(names, list(choice))
        return map_batches(lambda x, y: wrong(variables, x, y, gone), batch_size, images, labels).mean()

    return np.array([error(choice) for choice in removed])


def error_by_removed_block(
    model: nn.Module, variables: Any, images: np.ndarray, labels: np.ndarray, *, batch_size: int = 250
) -> dict[str, float]:
    """Return the top-1 error, a fraction, without each single removable block; "" is the whole network's."""
    names = ("", *removable_blocks(model, variables, images[:1]))
    choices = [(name,) if name else () for name in names]
    errors = errors_without(model, variables, images, labels, choices, batch_size=batch_size)
    return dict(zip(names, errors.tolist(), strict=True))


def error_by_number_removed(
    model: nn.Module,
    variables: Any,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    numbers: Sequence[int],
    samples: int = 5,
    seed: int = 0,
    batch_size: int = 250,
) -> np.ndarray:
    """Return the top-1 error without several random blocks: [L,S] for L numbers of blocks and S samples of each.

    The blocks are drawn from those that keep their shape, as in the paper.

    Raises:
        InputError: a number is larger than that of such blocks.
    """
    names = [block.name for block in blocks(model, variables, images[:1]) if block.keeps_shape]
    if max(numbers) > len(names):
        raise InputError(
            f"numbers={max(numbers)}: {type(model).__name__} has {len(names)} blocks that keep their shape"
        )
    rng = np.random.default_rng(seed)
    choices = [rng.choice(names, number, replace=False).tolist() for number in numbers for _ in range(samples)]
    errors = errors_without(model, variables, images, labels, choices, batch_size=batch_size)
    return errors.reshape(len(numbers), samples)
