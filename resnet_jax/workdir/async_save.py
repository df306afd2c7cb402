"""Saving while the training goes on."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp


@jax.jit
def _copy(tree: Any) -> Any:
    # As one program: 430 arrays (ResNet-50 and its momentum) take 8 ms of the host's time, one by one 42 ms.
    return jax.tree.map(jnp.copy, tree)


@contextmanager
def save_in_background(write: Callable[..., None]) -> Iterator[Callable[..., None]]:
    """Save in a thread, from a copy that the devices make; the end of the block waits for the last save.

    The training is then held up for as long as it takes to start the copy, and the arrays may be donated at once. The
    price is the memory of the copy until it is written; one save waits for the one before. An error is raised by the
    next save or at the end of the block, unless that is left by another error.

    Several processes save in the main thread, and so are arrays that are sharded over devices: programs in which
    devices wait for each other must be started in one order everywhere, which two threads would not keep. So do several
    devices of XLA's CPU backend: the fingerprint's programs take threads of the pool in which a step's all-reduce waits
    for all devices, and after 60 s XLA ends the process.

    Args:
        write: (step, *trees) -> None.

    Yields:
        A function of the same arguments.
    """
    if jax.process_count() > 1 or (jax.default_backend() == "cpu" and jax.device_count() > 1):
        yield write
        return
    pending: list[Future[None]] = []

    def finish() -> None:
        while pending:
            pending.pop().result()

    with ThreadPoolExecutor(max_workers=1) as thread:

        def save(step: int, *trees: Any) -> None:
            finish()
            if not all(leaf.is_fully_replicated for leaf in jax.tree.leaves(trees)):
                return write(step, *trees)
            try:
                copy = _copy(trees)
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                return write(step, *trees)  # no room for a second state
            pending.append(thread.submit(write, step, *copy))

        yield save
        finish()
