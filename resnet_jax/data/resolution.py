"""The image size of a training step: a function of the step alone, so that a batch has one size on every process.

Every size is a shape that the step is compiled for.
"""

from dataclasses import dataclass

import numpy as np

from resnet_jax.errors import InputError


@dataclass(frozen=True)
class FixedSize:
    """The same size in every step.

    Attributes:
        size: pixels a side.
    """

    size: int

    def __call__(self, step: int) -> int:
        return self.size


@dataclass(frozen=True)
class ProgressiveSize:
    """A size that grows during training: cheaper, with the accuracy of the last epochs' size (Leclerc et al. 2023).

    `low` up to epoch `start`, `high` from epoch `stop` on, linear in whole epochs between them, rounded to a multiple
    (half to even) and clipped to them, as in ffcv-imagenet.

    Attributes:
        low: pixels a side at the beginning.
        high: pixels a side at the end.
        start: last epoch of the smallest size, counted from 0.
        stop: first epoch of the largest size.
        steps_per_epoch: need not be whole, because batches cross the ends of epochs.
        multiple: of the sizes between `low` and `high`, which themselves are not rounded.

    Raises:
        InputError: a size is not positive, or sizes or epochs are in the wrong order.
    """

    low: int
    high: int
    start: float
    stop: float
    steps_per_epoch: float
    multiple: int = 32

    def __post_init__(self):
        if not 0 < self.low <= self.high:
            raise InputError(f"images cannot grow from {self.low} to {self.high} pixels; take 0 < low <= high")
        if not 0 <= self.start <= self.stop:
            raise InputError(f"images cannot grow from epoch {self.start} to {self.stop}; take 0 <= start <= stop")
        if self.steps_per_epoch <= 0 or self.multiple < 1:
            raise InputError(
                f"{self.steps_per_epoch} steps an epoch, sizes in multiples of {self.multiple}: take positive numbers"
            )

    def __call__(self, step: int) -> int:
        epoch = step // self.steps_per_epoch
        if epoch <= self.start:
            return self.low
        if epoch >= self.stop:
            return self.high
        between = np.interp(epoch, (self.start, self.stop), (self.low, self.high))
        return min(self.high, max(self.low, round(between / self.multiple) * self.multiple))
