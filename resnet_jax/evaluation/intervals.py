"""Confidence intervals of accuracies, and the paired test of two networks; scipy.stats takes a second to import."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Proportion:
    """A fraction of images with its 95 % interval (Wilson 1927).

    Attributes:
        count: images that have it.
        total: images.
        value: count / total, in [0, 1].
        low: lower end of the interval.
        high: upper end.
    """

    count: int
    total: int
    value: float
    low: float
    high: float


def proportion(count: int, total: int) -> Proportion:
    """Return `count` of `total` images, 1 or more, with its interval."""
    from scipy.stats import binomtest

    interval = binomtest(count, total).proportion_ci(confidence_level=0.95, method="wilson")
    return Proportion(count, total, count / total, float(interval.low), float(interval.high))


@dataclass(frozen=True)
class PairedTest:
    """The exact test of McNemar 1947: could two networks have the same accuracy?

    Attributes:
        first_only: images that the first alone has right.
        second_only: images that the second alone has right.
        p_value: probability of a split at least as uneven, were they equally good; 1 where they never differ.
    """

    first_only: int
    second_only: int
    p_value: float


def mcnemar(first: np.ndarray, second: np.ndarray) -> PairedTest:
    """Compare two networks on the same images, bool [N] each: whether the network has the image right."""
    from scipy.stats import binomtest

    first_only, second_only = int((first & ~second).sum()), int((second & ~first).sum())
    different = first_only + second_only
    p_value = float(binomtest(first_only, different, 0.5).pvalue) if different else 1.0
    return PairedTest(first_only, second_only, p_value)
