"""Saving while the training goes on."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp


@jax.jit
def _copy(tree: Any) -> Any:
    # As one program: 430 arrays (ResNet-50 and its momentum) take 8 ms of the host's time, one by one 42 ms
    # (two cores, jax 0.10.2, 2026-11).
    return jax.tree.map(jnp.copy, tree)


@contextmanager
def save_in_background(
    write: Callable[..., None], finish: Callable[[], None] = lambda: None
) -> Iterator[Callable[..., None]]:
    """Save in a thread, from a copy that the devices make; the end of the block waits for the last save.

    The training is then held up for as long as it takes to start the copy, and the arrays may be donated at once. The
    price is the memory of the copy until it is written; one save waits for the one before. An error is raised by the
    next save or at the end of the block, unless that is left by another error.

    Several processes save in the main thread, and so do several CPU devices, and arrays that are sharded: programs in
    which devices wait for each other must be started in one order everywhere, which two threads would not keep. (Of
    several CPU devices, the fingerprint's programs take threads of the pool in which a step's all-reduce waits for all
    devices, and after 60 s XLA ends the process.)

    Args:
        write: (step, *trees, **facts) -> None.
        finish: waits until what `write` began is on the disk.

    Yields:
        A function of the arguments of `write`.
    """
    pending: list[Future[None]] = []

    def wait() -> None:
        while pending:
            pending.pop().result()

    with ThreadPoolExecutor(max_workers=1) as thread:

        def in_thread(step: int, *trees: Any, **facts: Any) -> None:
            write(step, *trees, **facts)
            finish()

        def save(step: int, *trees: Any, **facts: Any) -> None:
            wait()
            if jax.process_count() > 1 or not all(_is_independent(leaf) for leaf in jax.tree.leaves(trees)):
                return write(step, *trees, **facts)
            try:
                copy = _copy(trees)
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                return write(step, *trees, **facts)  # no room for a second state
            pending.append(thread.submit(in_thread, step, *copy, **facts))

        yield save
        wait()
        finish()


def _is_independent(leaf: Any) -> bool:
    """Return whether a program over the array never makes devices wait for each other.

    A copy on several CPU devices may meet the training step's all-reduce there: of 24 runs 10 ended with "Termination
    timeout for all reduce" (two cores, jax 0.10.2, 2026-11).
    """
    devices = leaf.sharding.device_set
    several_cpus = len(devices) > 1 and next(iter(devices)).platform == "cpu"
    return leaf.is_fully_replicated and not several_cpus
