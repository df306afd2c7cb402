"""One process at a time in a folder."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from resnet_jax.errors import InputError

LOCK = ".lock"  # stays in the folder: removed, it could be held by two


@contextlib.contextmanager
def locked(folder: Path, option: str, doing: str) -> Iterator[None]:
    """Hold the folder for this process; it is made where it does not exist.

    The lock dies with the process, kill -9 included, so a stale one cannot be left behind.

    Args:
        folder: to be held.
        option: that names it, for errors.
        doing: what a holder does in it, for errors: "is training in it".

    Raises:
        InputError: another process holds it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a+")
    except OSError as error:
        raise InputError(f"{option}={folder}: cannot be written ({error.strerror}); name another folder") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise InputError(
                f"{option}={folder}: {holder} {doing}; wait for it, stop it, or name another folder"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
