"""The order of the examples: a batch is a function of (seed, step) and of nothing else.

Position q = step * batch_size + j of the endless stream lies in epoch q // n and is example number q % n of that
epoch's order. Batches therefore run across the ends of epochs, of a set that is smaller than a batch too, and resuming
a run needs the step's number only, with any number of processes and workers. An epoch's order is a permutation: every
example comes exactly once.

With repeated augmentation (Hoffer et al. 2020, https://arxiv.org/abs/1901.09335) an example is repeated `repeats`
times in a row of that stream, each time as another view of it. An epoch keeps its n samples, of the first
ceil(n / repeats) examples of its permutation. Torchvision's and timm's samplers do the same, except for up to 255
samples that they drop.

With balanced sampling an epoch's n samples are of every class equally many, to within one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from resnet_jax.errors import InputError


@dataclass(frozen=True, eq=False)  # compared by identity, by which its epochs are cached
class Order:
    """The order of the training examples.

    Attributes:
        seed: 0 or more.
        n: examples.
        batch_size: rows of a batch, over all processes.
        repeats: views of an example in an epoch.
        labels: int32 [n], for classes that come equally often, with `repeats` 1; None for examples that do.

    Raises:
        InputError: there are no examples, the seed is negative, `repeats` is less than 1, or both balance and repeats
            are asked for.
    """

    seed: int
    n: int
    batch_size: int
    repeats: int = 1
    labels: np.ndarray | None = None

    def __post_init__(self):
        if self.n < 1:
            raise InputError("there are no training examples")
        if self.seed < 0:
            raise InputError(f"--seed={self.seed} is negative; take 0 or more")
        if self.repeats < 1:
            raise InputError(f"--repeats={self.repeats} shows no example; take 1, or more for repeated augmentation")
        if self.repeats > 1 and self.labels is not None:
            raise InputError(f"--sampling=balanced repeats examples by itself; leave --repeats={self.repeats} out")

    def examples(self, epoch: int) -> np.ndarray:
        """Return the examples of one epoch in their order: integers [n], read-only."""
        if self.labels is None:
            return epoch_order(self.seed, epoch, self.n)
        return balanced_epoch(self, epoch)[0]

    def positions(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the positions of a global training batch's rows in the orders of their epochs.

        Of repeated examples first come all views 0, then all views 1, and so on, so that the views of one example are
        distant: on different devices where there are `repeats` of them or more.

        Returns:
            epoch [B], position in the epoch's order [B], and view [B], how often the example came in that epoch before;
            int64.
        """
        first = step * self.batch_size
        epoch, sample = np.divmod(first + np.arange(self.batch_size, dtype=np.int64), self.n)
        if self.labels is not None:
            return epoch, sample, _looked_up(epoch, sample, lambda number: balanced_epoch(self, number)[1])
        position, view = np.divmod(sample, self.repeats)
        by_view = np.argsort(view, kind="stable")
        return epoch[by_view], position[by_view], view[by_view]

    def rows(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the examples of one global training batch.

        Returns:
            epoch [B], index [B] and view [B], int32.
        """
        epoch, position, view = self.positions(step)
        index = _looked_up(epoch, position, self.examples)
        return epoch.astype(np.int32), index.astype(np.int32), view.astype(np.int32)


def _looked_up(epoch: np.ndarray, position: np.ndarray, values_of: Callable[[int], np.ndarray]) -> np.ndarray:
    """Return the value [B] at each position in its epoch's values: int64."""
    found = np.empty(len(epoch), np.int64)
    for number in np.unique(epoch):
        of_epoch = epoch == number
        found[of_epoch] = values_of(int(number))[position[of_epoch]]
    return found


# A batch touches two epochs. Every worker process keeps them: 14 million examples are 56 MB an epoch.
@lru_cache(maxsize=2)
def epoch_order(seed: int, epoch: int, n: int) -> np.ndarray:
    """Return the permutation of n examples in one epoch: int32 [n], read-only."""
    order = np.random.default_rng((seed, epoch)).permutation(n).astype(np.int32)
    order.setflags(write=False)
    return order


@lru_cache(maxsize=2)
def balanced_epoch(order: Order, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw an epoch in which every class comes equally often, to within one.

    Of a class with too many examples a part is drawn, without replacement and anew in each epoch; one with too few is
    gone through several times. Which classes come once more than others is drawn too.

    Args:
        order: with labels.
        epoch: number of the epoch.

    Returns:
        the examples [n], and of each how often it came before in this epoch [n]; int64, read-only.
    """
    assert order.labels is not None
    rng = np.random.default_rng((order.seed, epoch))
    by_class = np.argsort(order.labels, kind="stable")
    members = np.split(by_class, np.flatnonzero(np.diff(order.labels[by_class])) + 1)  # of classes that have examples
    counts = np.full(len(members), order.n // len(members))
    counts[rng.permutation(len(members))[: order.n % len(members)]] += 1
    chosen, times = [], []
    for examples, count in zip(members, counts.tolist(), strict=True):
        rounds = -(-count // len(examples))
        chosen.append(np.concatenate([rng.permutation(examples) for _ in range(rounds)])[:count])
        times.append(np.arange(count) // len(examples))
    shuffled = rng.permutation(order.n)
    examples, before = np.concatenate(chosen)[shuffled], np.concatenate(times)[shuffled]
    for array in (examples, before):  # which later batches read again
        array.setflags(write=False)
    return examples, before


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
