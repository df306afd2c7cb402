"""Micro-batches: the gradient of a large batch, a part at a time, in the memory of a part."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from resnet_jax.runtime.batch import Batch


def micro_batches(batch: Batch, count: int, group_size: int = 1) -> Batch:
    """The batch as `count` micro-batches: arrays [B,…] -> [count,B/count,…].

    Whole groups of `group_size` consecutive examples, which are normalized together, are dealt out in turn, so that
    each micro-batch takes its share from every device that holds a part of the batch, and no example moves.

    Raises:
        ValueError: `count` groups do not divide the batch.
    """

    def deal(x: jax.Array) -> jax.Array:
        if x.shape[0] % (count * group_size):
            raise ValueError(f"{x.shape[0]} examples are not {count} micro-batches of groups of {group_size}")
        groups = x.reshape(-1, count, group_size, *x.shape[1:])
        return jnp.moveaxis(groups, 1, 0).reshape(count, -1, *x.shape[1:])

    return jax.tree.map(deal, batch)


def accumulate_gradients(
    gradients_of: Callable[[Batch, jax.Array], Any], batch: Batch, count: int, group_size: int = 1
) -> tuple[Any, Any]:
    """Runs every micro-batch of a batch after the other.

    Args:
        gradients_of: (micro-batch, its number) -> (what adds up over examples, what is averaged): two pytrees.
        batch: the whole batch.
        count: micro-batches.
        group_size: examples that are normalized together.

    Returns:
        The sum of the first over all micro-batches, and the mean of the second. Running statistics are such a mean:
        each micro-batch moves the same old ones towards its own, and the large batch's are the mean of its groups'.
    """
    if count == 1:
        return gradients_of(batch, jnp.zeros((), jnp.int32))
    parts = micro_batches(batch, count, group_size)
    numbers = jnp.arange(count)
    empty = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
        jax.eval_shape(gradients_of, jax.tree.map(lambda x: x[0], parts), numbers[0]),
    )

    def add(total: Any, part: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, gradients_of(*part)), None

    (summed, averaged), _ = jax.lax.scan(add, empty, (parts, numbers))
    return summed, jax.tree.map(lambda x: x / count, averaged)
