"""The order of the examples: a batch is a function of (seed, step) and of nothing else.

Position q = step * batch_size + j of the endless stream lies in epoch q // n and is example number q % n of that
epoch's permutation. Batches therefore run across the ends of epochs, every example comes exactly once an epoch, and
resuming a run needs the step's number only, with any number of processes and workers.

With repeated augmentation (Hoffer et al. 2020, https://arxiv.org/abs/1901.09335) an example is repeated `repeats`
times in a row of that stream, each time as another view of it. An epoch keeps its n samples, of the first
ceil(n / repeats) examples of its permutation. Torchvision's and timm's samplers do the same, except for up to 255
samples that they drop.
"""

from functools import lru_cache

import numpy as np

from resnet_jax.errors import InputError


@lru_cache(maxsize=4)  # a batch touches two epochs; reading ahead, rarely a third
def epoch_order(seed: int, epoch: int, n: int) -> np.ndarray:
    """Return the permutation of n examples in one epoch: int64 [n], read-only."""
    order = np.random.default_rng((seed, epoch)).permutation(n)
    order.setflags(write=False)
    return order


def epoch_positions(step: int, batch_size: int, n: int, repeats: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the positions of a global training batch's rows in the permutations of their epochs.

    First come all views 0, then all views 1, and so on, so that the views of one example are distant: on different
    devices where there are `repeats` of them or more.

    Returns:
        epoch [B], position in the epoch's permutation [B] and view [B], 0 to repeats - 1; int64.
    """
    epoch, sample = np.divmod(step * batch_size + np.arange(batch_size, dtype=np.int64), n)
    position, view = np.divmod(sample, repeats)
    by_view = np.argsort(view, kind="stable")
    return epoch[by_view], position[by_view], view[by_view]


def rows(seed: int, step: int, batch_size: int, n: int, repeats: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the examples of one global training batch.

    Returns:
        epoch [B], index [B] and view [B], int32.
    """
    epoch, position, view = epoch_positions(step, batch_size, n, repeats)
    index = np.empty(batch_size, np.int32)
    for value in np.unique(epoch):
        of_epoch = epoch == value
        index[of_epoch] = epoch_order(seed, int(value), n)[position[of_epoch]]
    return epoch.astype(np.int32), index, view.astype(np.int32)


def eval_rows(step: int, batch_size: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the examples of one global evaluation batch, in the source's own order.

    Returns:
        index int32 [B] and mask float32 [B]: 0 for padding, whose index is 0.
    """
    index = step * batch_size + np.arange(batch_size, dtype=np.int64)
    real = index < n
    return np.where(real, index, 0).astype(np.int32), real.astype(np.float32)


def example_rng(seed: int, epoch: int, index: int, view: int = 0) -> np.random.Generator:
    """Return the random generator of one view of an example in one epoch.

    The index is a spawn key because numpy pads seeds with zeros: (seed, epoch, 0) would be the order's own stream.
    """
    # View 0 adds no key, so that streams without repeated augmentation do not depend on views.
    spawn_key = (index, view) if view else (index,)
    return np.random.default_rng(np.random.SeedSequence((seed, epoch), spawn_key=spawn_key))


def local_slice(batch_size: int, process_index: int, process_count: int) -> slice:
    """Return the rows of the global batch that one process loads.

    Raises:
        InputError: the batch cannot be shared evenly.
    """
    share, rest = divmod(batch_size, process_count)
    if rest or not share:
        raise InputError(f"a batch of {batch_size} cannot be shared by {process_count} processes; take a multiple")
    return slice(process_index * share, (process_index + 1) * share)


def check_train(n: int, batch_size: int, seed: int, repeats: int = 1) -> None:
    """Check that a training stream can be drawn.

    Raises:
        InputError: the set is smaller than a batch, the seed is negative, or `repeats` is less than 1.
    """
    if n < batch_size:
        raise InputError(f"--batch_size={batch_size} is more than the {n} training examples; take {n} or less")
    if seed < 0:
        raise InputError(f"--seed={seed} is negative; take 0 or more")
    if repeats < 1:
        raise InputError(f"--repeats={repeats} shows no example; take 1, or more for repeated augmentation")
