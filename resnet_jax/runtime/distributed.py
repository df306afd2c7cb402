"""Several processes as one run: joining them, comparing them, and stopping them together."""

import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import jax
import numpy as np
from jax._src.distributed import global_state
from jax.experimental import multihost_utils

from resnet_jax.errors import InputError
from resnet_jax.runtime import signals
from resnet_jax.runtime.compilation_cache import disable_cache
from resnet_jax.runtime.ending import watch_others
from resnet_jax.runtime.rendezvous import meet

# A dead process is noticed after this long (JAX's default of 100 s leaves the others hanging).
HEARTBEAT_SECONDS = 30

# A wait that is repeated for as long as it takes: a process that ends meanwhile ends the others.
WAIT_MS = 60_000


def connect(coordinator_address: str, num_processes: int, process_id: int, timeout: float) -> None:
    """Join the processes of a run, by the options or by the variables of a TPU pod or a Slurm job.

    Must come before anything uses JAX's devices. A run of one process needs nothing. From here on an error that ends
    one process ends all (`ending.ending_together`).

    Args:
        coordinator_address: HOST:PORT of process 0; "" for none.
        num_processes: how many there are; 0 for none.
        process_id: the number of this one, from 0; -1 for none.
        timeout: seconds until all must have come.

    Raises:
        InputError: some but not all of the three options, or the processes do not find each other.
    """
    options = (coordinator_address, num_processes, process_id)
    given = (bool(options[0]), options[1] > 0, options[2] >= 0)
    if any(given) and not all(given):
        raise InputError("--coordinator_address, --num_processes and --process_id go together; give all three")
    if process_id >= max(num_processes, 1):
        raise InputError(f"--process_id={process_id} of --num_processes={num_processes}: they count from 0")
    limits = {"heartbeat_timeout_seconds": HEARTBEAT_SECONDS, "initialization_timeout": max(1, round(timeout))}
    try:
        if all(given):
            meet(coordinator_address, num_processes, process_id, timeout)
            jax.distributed.initialize(*options, **limits)
        elif cluster_is_announced():
            jax.distributed.initialize(**limits)
    except RuntimeError as error:
        raise InputError(
            f"--coordinator_address={options[0]}: the processes did not find each other "
            f"({str(error).splitlines()[0]}); process 0 must run on that host with the port free"
        ) from error
    if not jax.distributed.is_initialized():
        return
    if global_state.num_processes > 1:
        signals.hand_to_service()
        watch_others()
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        # Only the first process writes, and where each machine has a home of its own it would be alone in finding a
        # program, while XLA's autotuner waits for what all of them measure.
        disable_cache()


def cluster_is_announced() -> bool:
    """Return whether the variables of a TPU pod or a Slurm job name several processes."""
    # Inside `srun`; a batch script outside it has SLURM_PROCID too, but is not one of several processes.
    slurm = int(os.environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_STEP_NODELIST" in os.environ
    tpu_pod = "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")
    return slurm or tpu_pod


def check_equal(topic: str, facts: Callable[[], Mapping[str, object]]) -> None:
    """Compare facts over all processes, without a collective: those of processes that differ would wait for ever.

    Args:
        topic: name of this comparison, its first in the run.
        facts: returns them by name; called where there are others to compare with, and compared as text.

    Raises:
        InputError: some differ; the line names them, their values and the processes.
    """
    client, count = global_state.client, global_state.num_processes
    if client is None or count == 1:
        return
    mine = {name: str(value) for name, value in facts().items()}
    client.key_value_set(f"{topic}/{global_state.process_id}", json.dumps(mine))
    if global_state.process_id == 0:
        # The first process compares: a thousand processes that each read a thousand entries would be a million.
        every = [mine, *(json.loads(_wait_for(f"{topic}/{i}")) for i in range(1, count))]
        client.key_value_set(f"{topic}/verdict", different(every))
    if problem := _wait_for(f"{topic}/verdict").removeprefix(EQUAL):
        raise InputError(problem)


EQUAL = "equal"


def different(facts: list[dict[str, str]]) -> str:
    """Return a line that names the facts in which processes differ, by their number in the list; "equal" if none do."""
    names = dict.fromkeys(name for one in facts for name in one)
    found = []
    for name in names:
        holders: dict[str, list[int]] = {}
        for number, one in enumerate(facts):
            holders.setdefault(one.get(name, "missing"), []).append(number)
        if len(holders) > 1:
            found.append(f"{name} is " + ", ".join(f"{value} in {_processes(of)}" for value, of in holders.items()))
    return f"the processes of the run differ: {'; '.join(found)}" if found else EQUAL


def _processes(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"process {numbers[0]}"
    more = f" and {len(numbers) - 3} more" if len(numbers) > 3 else ""
    return f"processes {', '.join(map(str, numbers[:3]))}{more}"


def _wait_for(key: str) -> str:
    assert global_state.client is not None
    while True:
        try:
            return global_state.client.blocking_key_value_get(key, WAIT_MS)
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise


def barrier(name: str) -> None:
    """Wait until every process of the run has come here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


@contextmanager
def stop_signal() -> Iterator[Callable[[int], bool]]:
    """Yield a function of the step that returns whether a signal asked the run to stop.

    One process hears it by `signals.stop_requests`. Of several processes, JAX's preemption service hears the SIGTERM of
    any and lets all stop after the same question, which all must ask equally often.
    """
    if jax.process_count() > 1:
        # The service names a number that the process ahead has not come to yet: steps, of which a call may make many,
        # could jump over it.
        questions = itertools.count(1)
        yield lambda step: multihost_utils.reached_preemption_sync_point(next(questions))
        return
    with signals.stop_requests() as requested:
        yield lambda step: requested()


def is_first_process() -> bool:
    """Return whether this process is the one that prints and writes files."""
    return jax.process_index() == 0


def over_processes(messages: set[str]) -> list[str]:
    """Return the sorted messages of all processes."""
    if jax.process_count() == 1:
        return sorted(messages)
    text = np.frombuffer(json.dumps(sorted(messages)).encode(), np.uint8)
    lengths = multihost_utils.process_allgather(np.array(len(text)))
    padded = np.zeros(lengths.max(), np.uint8)
    padded[: len(text)] = text
    rows = multihost_utils.process_allgather(padded)
    lists = [json.loads(bytes(row[:length])) for row, length in zip(rows, lengths, strict=True)]
    return sorted({message for one in lists for message in one})
