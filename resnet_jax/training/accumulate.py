"""Micro-batches: the gradient of a large batch, a part at a time, in the memory of a part."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from resnet_jax.errors import InputError
from resnet_jax.runtime.batch import Batch


def check_micro_batches(batch_size: int, count: int, group_size: int, num_devices: int) -> None:
    """Check that every device can split its own part of the batch into micro-batches.

    With fewer normalization groups a device than micro-batches, images would be sent between the devices, and some
    devices would compute what others compute too.

    Args:
        batch_size: B, over all devices.
        count: micro-batches.
        group_size: examples that are normalized together; 0 or 1 where that does not bind them to a device.
        num_devices: of all processes.

    Raises:
        InputError: a device's normalization groups cannot be split into `count` equal parts.
    """
    whole = batch_multiple(count, group_size, num_devices)
    if count > 1 and batch_size % whole:
        groups = f" in groups of --bn_group_size={group_size}" if group_size > 1 else ""
        raise InputError(
            f"--accumulate={count}: each of {num_devices} devices has {batch_size / num_devices:g} images{groups}, "
            f"which are not {count} equal micro-batches; take a --batch_size that is a multiple of {whole}"
        )


def batch_multiple(count: int, group_size: int, num_devices: int) -> int:
    """Return what every batch size is a multiple of; arguments as in `check_micro_batches`."""
    each = count * max(1, group_size)
    return num_devices * each if count > 1 else math.lcm(num_devices, each)


def micro_batches(batch: Batch, count: int, group_size: int = 1) -> Batch:
    """Split a batch into `count` micro-batches: arrays [B,…] -> [count,B/count,…].

    Whole groups of `group_size` consecutive examples, which are normalized together, go to the micro-batches in turn,
    so that each micro-batch takes its share from every device that holds a part of the batch, and no example moves.

    Raises:
        ValueError: `count` groups do not divide the batch.
    """

    def split(x: jax.Array) -> jax.Array:
        if x.shape[0] % (count * group_size):
            raise ValueError(f"{x.shape[0]} examples are not {count} micro-batches of groups of {group_size}")
        groups = x.reshape(-1, count, group_size, *x.shape[1:])
        return jnp.moveaxis(groups, 1, 0).reshape(count, -1, *x.shape[1:])

    return jax.tree.map(split, batch)


def accumulate_gradients(
    gradients_of: Callable[[Batch, jax.Array], Any], batch: Batch, count: int, group_size: int = 1
) -> tuple[Any, Any]:
    """Compute the micro-batches of a batch one after the other.

    Args:
        gradients_of: (micro-batch, its number) -> (a pytree that is summed over micro-batches, one that is averaged).
        batch: the whole batch.
        count: micro-batches.
        group_size: examples that are normalized together.

    Returns:
        The sum of the first over all micro-batches, and the mean of the second, which is bit for bit each of them where
        they are equal. Running statistics are such a mean: each micro-batch moves the same old ones towards its own,
        and the large batch's are the mean of its groups'; frozen ones must stay as they are.
    """
    if count == 1:
        return gradients_of(batch, jnp.zeros((), jnp.int32))
    parts = micro_batches(batch, count, group_size)
    numbers = jnp.arange(count)
    empty = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
        jax.eval_shape(gradients_of, jax.tree.map(lambda x: x[0], parts), numbers[0]),
    )

    def add(before: Any, part: Any) -> tuple[Any, None]:
        (total, mean), (gradients, values) = before, gradients_of(*part)
        mean = jax.tree.map(lambda m, x: m + (x - m) / (part[1] + 1), mean, values)  # by differences: 0 of equal ones
        return (jax.tree.map(jnp.add, total, gradients), mean), None

    return jax.lax.scan(add, empty, (parts, numbers))[0]
