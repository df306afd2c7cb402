"""A watchdog for runs that are alive but do not go on: a stuck process, data worker, file system or collective."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from resnet_jax.errors import STALLED
from resnet_jax.runtime.ending import dump_stacks, end_all

# Before the first step a program is compiled, for which there is no measure yet.
FIRST = 3
# A later compilation or evaluation may take this many times the longest one so far.
LONGER = 2

_beats: list[float] = []  # time of the last sign of life and the longest time between two, while a watchdog runs


def beat() -> None:
    """Note that the run goes on: after every device call of a training or an evaluation."""
    if _beats:
        now = time.monotonic()
        _beats[:] = [now, max(_beats[1], now - _beats[0])]


@contextmanager
def watchdog(minutes: float) -> Iterator[None]:
    """End the process when nothing has beaten for this many minutes; 0 never does.

    It prints the stacks of all threads and leaves with status 70; the other processes of the run do the same. The
    limit grows with the run: it is never less than twice the longest time between two beats so far, and three times
    as long before the first.
    """
    if minutes <= 0:
        yield
        return
    _beats[:] = [time.monotonic(), 0.0]
    done = threading.Event()
    threading.Thread(target=_watch, args=(minutes * 60, done), daemon=True, name="watchdog").start()
    try:
        yield
    finally:
        done.set()
        _beats.clear()


def _watch(limit: float, done: threading.Event) -> None:
    last, waited = 0.0, 0.0
    pause = min(limit / 10, 5.0)
    # Counted in pauses, not by the clock: a process that was stopped (Ctrl-Z, a machine asleep) has not waited.
    while not done.wait(pause):
        if not (now := list(_beats)):
            return
        waited = 0.0 if now[0] != last else waited + pause
        last = now[0]
        allowed = max(limit, LONGER * now[1]) if now[1] else FIRST * limit
        if waited > allowed:
            _end(waited)


def _end(waited: float) -> None:
    dump_stacks()
    line = (
        f"error: no step for {waited / 60:.3g} minutes (--stall_minutes): the stacks above show where it waits; "
        "the same command continues from the newest checkpoint"
    )
    print(line, file=sys.stderr)
    end_all(line, STALLED)
