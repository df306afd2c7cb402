"""A lock on a folder: one process at a time works in it."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from resnet_jax.errors import InputError

LOCK = ".lock"  # never removed: a process could hold the deleted file and another its successor


@contextlib.contextmanager
def lock_folder(folder: Path, option: str, doing: str) -> Iterator[None]:
    """Lock a folder for this process; create it if it does not exist.

    The kernel drops the lock with the process, kill -9 included, so none is ever stale.

    Args:
        folder: to lock.
        option: the flag that names it, for errors.
        doing: the holder's work, for errors: "is training in it".

    Raises:
        InputError: another process holds it, it cannot be written, or its file system has no locks.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a+", encoding="utf-8")
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
        except OSError as error:  # ENOLCK and ENOTSUP, of network file systems without locks
            raise InputError(
                f"{option}={folder}: its file system has no locks ({error.strerror}), which keep two processes from "
                "writing the same files; name a folder on another one"
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
