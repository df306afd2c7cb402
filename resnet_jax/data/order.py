"""The order of the examples: a batch is a function of (seed, step) and of nothing else.

Position p = step * batch_size + j of the endless stream lies in epoch p // n and is example number p % n of that
epoch's permutation. Batches therefore run across the ends of epochs, every example comes exactly once an epoch, and
to resume a run at a step needs the step's number only, with any number of processes and workers.
"""

from functools import lru_cache

import numpy as np

from resnet_jax.errors import InputError


@lru_cache(maxsize=4)  # a batch touches two epochs; reading ahead, rarely a third
def epoch_order(seed: int, epoch: int, n: int) -> np.ndarray:
    """The permutation of n examples in one epoch: int64 [n], read-only."""
    order = np.random.default_rng((seed, epoch)).permutation(n)
    order.setflags(write=False)
    return order


def rows(seed: int, step: int, batch_size: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The examples of one global training batch.

    Returns:
        epoch [B] and index [B], int32.
    """
    epoch, place = np.divmod(step * batch_size + np.arange(batch_size, dtype=np.int64), n)
    index = np.empty(batch_size, np.int32)
    for value in np.unique(epoch):
        of_epoch = epoch == value
        index[of_epoch] = epoch_order(seed, int(value), n)[place[of_epoch]]
    return epoch.astype(np.int32), index


def eval_rows(step: int, batch_size: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The examples of one global evaluation batch, in the source's own order.

    Returns:
        index int32 [B] and mask float32 [B]: 0 for padding, whose index is 0.
    """
    index = step * batch_size + np.arange(batch_size, dtype=np.int64)
    real = index < n
    return np.where(real, index, 0).astype(np.int32), real.astype(np.float32)


def example_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The randomness of one example's augmentation in one epoch.

    The index is a spawn key because numpy pads seeds with zeros: (seed, epoch, 0) would be the order's own stream.
    """
    return np.random.default_rng(np.random.SeedSequence((seed, epoch), spawn_key=(index,)))


def local_slice(batch_size: int, process_index: int, process_count: int) -> slice:
    """The rows of the global batch that one process loads.

    Raises:
        InputError: the batch cannot be shared evenly.
    """
    share, rest = divmod(batch_size, process_count)
    if rest or not share:
        raise InputError(f"a batch of {batch_size} cannot be shared by {process_count} processes; take a multiple")
    return slice(process_index * share, (process_index + 1) * share)


def check_train(n: int, batch_size: int, seed: int) -> None:
    """Refuses what no training stream can be drawn from.

    Raises:
        InputError: the set is smaller than a batch, or the seed is negative.
    """
    if n < batch_size:
        raise InputError(f"--batch_size={batch_size} is more than the {n} training examples; take {n} or less")
    if seed < 0:
        raise InputError(f"--seed={seed} is negative; take 0 or more")
