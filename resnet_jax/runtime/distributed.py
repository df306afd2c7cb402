"""Several processes as one run: joining them, and stopping them together."""

import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from resnet_jax.errors import InputError
from resnet_jax.runtime.compilation_cache import disable_cache

T = TypeVar("T")


def connect(coordinator_address: str, num_processes: int, process_id: int) -> None:
    """Join the processes of a run, by the options or by the variables of a TPU pod or a Slurm job.

    Must come before anything uses JAX's devices. A run of one process needs nothing.

    Args:
        coordinator_address: HOST:PORT of process 0; "" for none.
        num_processes: how many there are; 0 for none.
        process_id: the number of this one, from 0; -1 for none.

    Raises:
        InputError: some but not all of the three options, or the processes do not find each other.
    """
    options = (coordinator_address, num_processes, process_id)
    given = (bool(options[0]), options[1] > 0, options[2] >= 0)
    if any(given) and not all(given):
        raise InputError("--coordinator_address, --num_processes and --process_id go together; give all three")
    if process_id >= max(num_processes, 1):
        raise InputError(f"--process_id={process_id} of --num_processes={num_processes}: they count from 0")
    if all(given):
        try:
            # A dead process is noticed after this long (JAX's default of 100 s leaves the others hanging).
            jax.distributed.initialize(*options, heartbeat_timeout_seconds=30)
        except RuntimeError as error:
            raise InputError(
                f"--coordinator_address={options[0]}: the processes did not find each other "
                f"({str(error).splitlines()[0]}); process 0 must run on that host with the port free"
            ) from error
    elif _cluster_is_announced():
        jax.distributed.initialize(heartbeat_timeout_seconds=30)
    if jax.distributed.is_initialized() and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        # Only the first process writes, and where each machine has a home of its own it would be alone in finding a
        # program, while XLA's autotuner waits for what all of them measure.
        disable_cache()


def _cluster_is_announced() -> bool:
    # Inside `srun`; a batch script outside it has SLURM_PROCID too, but is not one of several processes.
    slurm = int(os.environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_STEP_NODELIST" in os.environ
    tpu_pod = "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")
    return slurm or tpu_pod


def agree(problem: InputError | None) -> None:
    """Raise on every process what one of them has found; otherwise the others would wait for it for ever.

    Raises:
        InputError: this process's problem, or word of another's.
    """
    if jax.process_count() > 1:
        found = np.flatnonzero(multihost_utils.process_allgather(np.array(problem is not None)))
        if found.size and problem is None:
            raise InputError(f"process {found[0]} cannot go on; see what it printed")
    if problem is not None:
        raise problem


def agreed(work: Callable[[], T]) -> T:
    """What `work` gives this process, once it has worked in every one.

    Raises:
        InputError: as `agree`, where it raised one in any of them.
    """
    result: list[T] = []
    problem = None
    try:
        result.append(work())
    except InputError as error:
        problem = error
    agree(problem)
    return result[0]


def barrier(name: str) -> None:
    """Wait until every process of the run has come here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


@contextmanager
def stop_signal() -> Iterator[Callable[[int], bool]]:
    """A function of the step that tells whether the run has been asked to stop.

    One process listens to SIGTERM and SIGINT itself; a second signal ends it at once. Of several processes, JAX's
    preemption service hears the SIGTERM of any and lets all stop after the same question, which all must ask equally
    often; a handler of our own would switch it off. Outside the main thread (a notebook's worker) nothing can be heard.
    """
    if jax.process_count() > 1:
        # The service names a number that the process ahead has not come to yet: steps, of which a call may make many,
        # could jump over it.
        questions = itertools.count(1)
        yield lambda step: multihost_utils.reached_preemption_sync_point(next(questions))
        return
    if threading.current_thread() is not threading.main_thread():
        yield lambda step: False
        return
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def restore_handlers() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def hear(number: int, frame: object) -> None:
        received.append(number)
        restore_handlers()

    for number in before:
        signal.signal(number, hear)
    try:
        yield lambda step: bool(received)
    finally:
        restore_handlers()
