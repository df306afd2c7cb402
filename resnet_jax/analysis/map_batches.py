"""Batched evaluation of a function over all examples."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def map_batches(function: Callable[..., Any], batch_size: int, *arrays: np.ndarray) -> np.ndarray:
    """Apply `function` to all examples, `batch_size` at a time: one shape, compiled once.

    Args:
        function: slices of the arrays, each [batch_size,...], to an array [batch_size,...] whose rows depend on the
            same rows of its arguments and on no others.
        batch_size: examples at a time, at most all. The last batch is padded with its first example, and the results of
            the padding are dropped.
        arrays: each [N,...].

    Returns:
        [N,...].
    """
    total = len(arrays[0])
    batch_size = min(batch_size, total)
    results = []
    for start in range(0, total, batch_size):
        batch = [np.asarray(array[start : start + batch_size]) for array in arrays]
        missing = batch_size - len(batch[0])
        full = [np.concatenate([part, np.repeat(part[:1], missing, axis=0)]) for part in batch] if missing else batch
        results.append(np.asarray(jax.device_get(function(*full)))[: len(batch[0])])
    return np.concatenate(results)
