"""Signals that ask a command to stop, heard from its first import to its last line."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from resnet_jax.errors import InterruptedRunError

# Slurm and terminals that are closed send the last two; Windows has neither.
STOP_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]

# A third signal ends the process at once: the first asks, and a second is often the scheduler's repetition.
PATIENCE = 3

_received: list[int] = []  # that nothing has ended for yet
_of_command: list[bool] = []  # whether signals are a command's, to all of whose parts they speak


def _handle(handler: Any, numbers: list[int] = STOP_SIGNALS) -> None:
    # What the parent has ignored stays ignored: nohup does so with SIGHUP.
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, handler)


def end_at_once(status: int, line: str = "") -> None:
    """End the process with this status at a signal: while it imports, and after its end, when nothing is under way.

    Args:
        status: exit status.
        line: printed on standard error.
    """

    def end(number: int, frame: FrameType | None) -> None:
        with suppress(OSError):
            os.write(2, f"{line}\n".encode() if line else b"")
        os._exit(status)

    _handle(end)


def interrupt() -> None:
    """Raise KeyboardInterrupt in the main thread at a signal."""
    _received.clear()
    _of_command[:] = [True]

    def raise_interrupt(number: int, frame: FrameType | None) -> None:
        _received.append(number)
        raise KeyboardInterrupt

    _handle(raise_interrupt)


def hand_to_service() -> None:
    """Turn every signal into SIGTERM, which JAX's preemption service hears for all processes of a run.

    The service's handler is C++'s, and a handler of ours for SIGTERM would replace it.
    """

    def hand_on(number: int, frame: FrameType | None) -> None:
        _received.append(number)
        if len(_received) >= PATIENCE:
            raise KeyboardInterrupt
        os.kill(os.getpid(), signal.SIGTERM)

    _handle(hand_on, [number for number in STOP_SIGNALS if number != signal.SIGTERM])


@contextmanager
def held_back() -> Iterator[None]:
    """Block the signals in this thread and, for good, in the processes that it starts.

    This process loses none: another thread receives it, or this one at the end of the block.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Note signals instead of raising them; yield a function that returns whether there was one.

    A signal before the block counts too: its KeyboardInterrupt can be lost in a callback. A second signal waits for
    what the first began; the third ends the process at once. One that came too late for the block to stop is left to
    `check_stop` in what the command does next. Outside the main thread (a notebook's worker) nothing can be heard.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    received = list(_received)
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if len(received) == 1:
            with suppress(OSError):  # print could meet itself: a handler runs within other prints
                os.write(2, b"stopping: saves after this step; a third signal ends at once\n")

    _handle(note)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    wakeup = signal.set_wakeup_fd(ours.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_end_at_the_third, args=(theirs, len(received)), daemon=True).start()
    try:
        yield lambda: bool(received)
        if _of_command:
            _received[:] = received
    finally:
        signal.set_wakeup_fd(wakeup)
        ours.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def check_stop(what: str) -> None:
    """End the command where a signal asked for it too late for the training before to hear.

    Args:
        what: comes next, for the error.

    Raises:
        InterruptedRunError: one did.
    """
    if _received:
        raise InterruptedRunError(f"stopped by a signal before {what}; the same command continues there")


def _end_at_the_third(numbers: socket.socket, count: int) -> None:
    # In a thread: Python runs handlers between two instructions of the main thread, which may be in a compilation.
    with numbers:
        while arrived := numbers.recv(1):
            count += arrived[0] in STOP_SIGNALS
            if count >= PATIENCE:
                os._exit(128 + arrived[0])
