"""Prefetch by Grain: elements of a sequence, made ahead of time by threads or worker processes."""

import atexit
import gc
import itertools
import multiprocessing
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Generator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any, Protocol

import numpy as np

from resnet_jax.errors import InputError
from resnet_jax.runtime.cores import usable_cores
from resnet_jax.runtime.main_guard import REMEDY, refuse_import_by_worker
from resnet_jax.runtime.signals import held_back

# Without worker processes. Decoding and resizing release the GIL; each thread holds one piece of a batch in memory.
THREADS = min(8, usable_cores())


class Elements(Protocol):
    """A sequence whose elements can be made in any order, by any thread; pickles, for worker processes."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...


def read_ahead(elements: Elements, num_workers: int, together: int = 1) -> Generator[dict[str, Any], None, None]:
    """Yield the elements in order, the same ones for any number of workers.

    Closing the generator, leaving it by an exception, or the end of the program ends the workers and frees their
    shared memory, which holds about five elements for each worker.

    Args:
        elements: the sequence; each element is a dict of arrays, large enough to be worth sending.
        num_workers: processes; 0 for threads of this one.
        together: so many elements in a row become one, their arrays and lists appended.

    Raises:
        InputError: a worker process died, or this is one that only imports the script; errors of an element are raised
            as they are.
    """
    if num_workers:
        refuse_import_by_worker()
    stream = _stream(elements, num_workers, together)
    _open_streams.add(stream)
    return stream


def read_pieces(
    piece: Callable[[Any, range], dict[str, Any]], source: Any, size: int, num_workers: int
) -> Generator[dict[str, Any], None, None]:
    """Yield piece(source, numbers) in order, for `size` of the source's examples at a time.

    Args:
        piece: a function of a module, which worker processes can import.
        source: the examples, with a length.
        size: examples of a piece of work, worth sending to a worker.
        num_workers: as in `read_ahead`.

    Raises:
        InputError: as `read_ahead`.
    """
    return read_ahead(_Pieces(piece, source, size), num_workers)


@dataclass(frozen=True)
class _Pieces:
    piece: Callable[[Any, range], dict[str, Any]]
    source: Any
    size: int

    def __len__(self) -> int:
        return -(-len(self.source) // self.size)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.piece(self.source, range(index * self.size, min((index + 1) * self.size, len(self.source))))


# A stream that is still referenced when the interpreter ends would be closed too late to free its memory.
_open_streams: weakref.WeakSet[Generator[dict[str, Any], None, None]] = weakref.WeakSet()


@atexit.register
def _close_streams() -> None:
    if streams := list(_open_streams):
        for stream in streams:
            stream.close()
        # Grain frees the memory in a thread, for which the end of the program does not wait.
        time.sleep(0.2)


def _stream(elements: Elements, num_workers: int, together: int) -> Generator[dict[str, Any], None, None]:
    # With Orbax, which it brings along, half a second that --help and sets on the devices do without.
    import grain
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # Grain reads its flags, which nobody parses outside absl.app
    # Grain's own default would hold 500 elements.
    ahead = 0 if num_workers else THREADS
    data = grain.MapDataset.source(elements).to_iter_dataset(grain.ReadOptions(ahead, ahead))
    options = grain.MultiprocessingOptions(num_workers=num_workers, per_worker_buffer_size=1)
    iterator = iter(data.mp_prefetch(options, worker_init_fn=_init_worker))
    try:
        if num_workers:
            # A worker ignores signals once it runs, but takes seconds to get there, and a signal to the whole process
            # group would end it before: a blocked signal stays blocked in a process that is started.
            with held_back():
                resource_tracker.ensure_running()  # outlives the workers too, and unblocks when it starts
            with held_back():
                element = _appended(list(itertools.islice(iterator, together)))
        elif together == 1:
            yield from iterator
            return
        else:
            element = _appended(list(itertools.islice(iterator, together)))
        while element:
            yield element
            element = _appended(list(itertools.islice(iterator, together)))
    except RuntimeError as error:
        if "terminated unexpectedly" not in str(error):
            raise
        raise InputError(
            "a data worker process died, most often for want of memory or of /dev/shm (docker run --shm-size=8g); "
            f"take fewer --num_workers, or 0 for threads; where it ran the script again, {REMEDY} ({error})"
        ) from error
    finally:
        iterator.close()
        if num_workers:
            del iterator
            gc.collect()  # Grain keeps each worker's last element, and its shared memory, in a cycle of references


def _appended(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Append the arrays and the lists of elements; {} of none.

    The arrays are copies: Grain's live in shared memory, which leaks if one is still referenced when the interpreter
    ends (by a traceback, or by JAX, which does not copy on CPU).
    """
    joined: dict[str, Any] = {}
    for name, value in parts[0].items() if parts else ():
        values = [part[name] for part in parts]
        if isinstance(value, np.ndarray):
            joined[name] = np.concatenate(values)
        else:
            joined[name] = list(itertools.chain(*values)) if isinstance(value, list) else value
    return joined


def _init_worker(worker_index: int, worker_count: int) -> None:
    """Make a worker ignore signals to the whole process group and end with its parent."""
    # The parent finishes its step and saves on SIGTERM; it needs the workers until it closes them.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    # After SIGKILL the parent cannot stop its workers, and they would wait for ever.
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
