import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import jax

from resnet_jax.runtime.batch import Batch


@dataclass(frozen=True)
class Loader:
    """Batches and what the device does to each inside the step.

    Attributes:
        batches: from `(start, stop)`, in steps, to the batches of training; from `()` to one pass of evaluation.
        prepare: pure; the fed batch, and in training the steps done before it -> {"image" float32 [B,H,W,3] normalized,
            "label", "mask", …}.
        requests: of a training set that the devices hold, from `(start, stop)` to what each step asks of it, on the
            host; None of others. A batch is {**held, "request": one of them}.
        held: arrays on the devices that all these batches share.
    """

    batches: Callable[..., Iterator[Batch]]
    prepare: Callable[..., Batch]
    requests: Callable[[int, int], Iterator[Batch]] | None = None
    held: Batch = field(default_factory=dict)


def processes() -> dict[str, int]:
    """Which share of every batch this process loads."""
    return {"process_index": jax.process_index(), "process_count": jax.process_count()}


def worker_count(num_workers: int) -> int:
    """Decoding processes: as asked for, or one for every core but one, at most 16."""
    return num_workers if num_workers >= 0 else max(1, min(16, (os.cpu_count() or 1) - 1))
