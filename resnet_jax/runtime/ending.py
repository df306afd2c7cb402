"""The end of a command by an error: one line, an exit status, and the end of the other processes of its run."""

import atexit
import faulthandler
import json
import multiprocessing
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jax
from jax._src.distributed import global_state

from resnet_jax.errors import (
    BAD_INPUT,
    FAILED,
    INTERRUPTED,
    NON_FINITE,
    STALLED,
    InputError,
    InterruptedRunError,
    NonFiniteError,
    StalledRunError,
)
from resnet_jax.runtime.program import missing_package

# Entries in the store that the first process keeps for all.
ENDED, READ = "resnet_jax/ended", "resnet_jax/ended_read_by"

POLL_SECONDS = 0.5
# A process that meets the same error itself prints its own line; the others leave the first process time to serve all.
GRACE_SECONDS = 2.0
SERVE_SECONDS = 10.0

# What XLA:CPU says of a sum over the processes when the connection to another breaks.
LOST = re.compile("Gloo .* failed: .*(Connection|Broken pipe)")

_ending = threading.Event()  # this process ends by an error, its own or another's
_finishing = threading.Event()  # it is done, and waits for the others in JAX's shutdown barrier


def line_and_status(error: BaseException) -> tuple[str | None, int]:
    """Return what to print of an error, None for its traceback, and the exit status."""
    match error:
        case InterruptedRunError():
            return str(error), INTERRUPTED
        case KeyboardInterrupt():
            return "interrupted; what was saved stays, and the same command may be started again", INTERRUPTED
        case InputError():
            return f"error: {error}", BAD_INPUT
        case NonFiniteError():
            return f"error: {error}", NON_FINITE
        case StalledRunError():
            return f"error: {error}", STALLED
        case ModuleNotFoundError():
            if line := missing_package(error):
                return line, BAD_INPUT
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return f"error: {where}{error.strerror or error}", BAD_INPUT
    if line := _missing_devices(error):
        return line, BAD_INPUT
    if _lost_another(error):
        reason = str(error).splitlines()[0].rpartition("] ")[2]
        return f"error: another process of the run is gone ({reason}); the same command continues the run", STALLED
    return None, FAILED


def _missing_devices(error: BaseException) -> str | None:
    """Return a line where JAX_PLATFORMS names devices that are not there; JAX raises a bare AssertionError."""
    platforms = os.environ.get("JAX_PLATFORMS")
    frames = traceback.extract_tb(error.__traceback__)
    if not platforms or not frames or Path(frames[-1].filename).name != "xla_bridge.py":
        return None
    why = str(error).partition("(set JAX_PLATFORMS")[0].strip() or "no such device, or JAX is installed without support"
    return f"error: JAX_PLATFORMS={platforms}: {why}; unset it to use what is there"


def _lost_another(error: BaseException) -> bool:
    """Return whether the error says that another process of the run ended without a word."""
    return isinstance(error, jax.errors.JaxRuntimeError) and bool(LOST.search(str(error)))


def report(error: BaseException, *, debug: bool) -> tuple[str, int]:
    """Print an error on standard error; return its line and its exit status.

    Args:
        error: what ended the command.
        debug: print the traceback of an error with a line, too.
    """
    line, status = line_and_status(error)
    if line is None or debug:
        traceback.print_exception(error)
    if line is None:
        return f"{type(error).__name__}: {error}".splitlines()[0], status
    print(line, file=sys.stderr)
    return line, status


@contextmanager
def ending_together(*, debug: bool) -> Iterator[None]:
    """End every process of the run when this one raises; nothing where it is the only one.

    Without this an exception would wait in JAX's shutdown barrier for the others, which wait for this process in a
    collective: 300 s, then SIGABRT. A run that a signal stopped passes through, because all its processes stop.
    """
    try:
        yield
    except InterruptedRunError:
        raise
    except (Exception, KeyboardInterrupt) as error:
        if jax.distributed.is_initialized():
            if _lost_another(error):  # if that one left a word, the watch ends this process with its line and status
                time.sleep(2 * POLL_SECONDS + GRACE_SECONDS)
            _ending.set()
            line, status = report(error, debug=debug)
            end_all(line, status)
        raise


def end_all(line: str, status: int) -> None:
    """End this process and let the others of its run end with the same status; does not return."""
    _ending.set()
    flush_output()
    with suppress(Exception):  # another process has ended first, or the first one is gone
        word = json.dumps({"process": global_state.process_id, "line": line, "status": status})
        store().key_value_set(ENDED, word)
    _leave(status)


def watch_others() -> None:
    """Watch, in a thread, for the end of another process of the run, and end with its status."""
    atexit.register(_finishing.set)
    threading.Thread(target=_watch, daemon=True, name="watch other processes").start()


def store() -> Any:
    """Return the key-value store of the run's coordination service."""
    return global_state.client


def _watch() -> None:
    client = store()
    while not _ending.wait(POLL_SECONDS):
        try:
            word = json.loads(client.key_value_try_get(ENDED))
        except Exception as error:
            if "NOT_FOUND" in str(error):
                continue
            # JAX ends the process at the same moment, with a native trace, if it is not leaving anyway.
            if not _finishing.is_set():
                _say("error: process 0 is gone, see its output; the same command continues the run", STALLED)
                os._exit(STALLED)
            return
        if _ending.wait(GRACE_SECONDS):
            return
        _ending.set()
        _say(f"process {word['process']} has ended: {word['line']}", word["status"])
        _leave(word["status"])


def dump_stacks() -> None:
    """Print the stack of every thread on standard error."""
    with suppress(Exception):
        sys.stderr.flush()
        faulthandler.dump_traceback(2, all_threads=True)


def _say(line: str, status: int) -> None:
    if status == STALLED:
        dump_stacks()
    print(line, file=sys.stderr)
    flush_output()


def _leave(status: int) -> None:
    """End without JAX's shutdown barrier; the first process, which keeps the store, when the others have read it."""
    client, me = store(), global_state.process_id
    with suppress(Exception):
        client.key_value_set(f"{READ}/{me}", "")
        deadline = time.monotonic() + SERVE_SECONDS
        while me == 0 and time.monotonic() < deadline:
            if len(client.key_value_dir_get(READ)) == global_state.num_processes:
                time.sleep(POLL_SECONDS)  # the last of them is leaving
                break
            time.sleep(POLL_SECONDS / 5)
    for worker in multiprocessing.active_children():  # a stopped one would not notice that its parent is gone
        worker.kill()
    os._exit(status)


def flush_output() -> None:
    """Write out what was printed; never fails."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
