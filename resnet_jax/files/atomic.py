"""Atomic writes: a reader sees the old file or the new one, after a crash and beside other writers too."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, to write to; the end of the block replaces `path` by it.

    The file is synced to the disk first, so that a power failure leaves no partial file. If the block raises, the
    temporary file is removed and `path` stays as it was.
    """
    # A random name, not the process id: ids are equal in different containers.
    temporary = path.with_name(f".{secrets.token_hex(8)}.{path.name}")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`, to fill; the end of the block gives it its name.

    If the block raises, it is removed.

    Raises:
        FileExistsError: `path` exists.
    """
    if path.exists():
        raise FileExistsError(path)
    temporary = path.with_name(f".{secrets.token_hex(8)}.{path.name}")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_atomically(path: Path, text: str) -> None:
    """Write or replace a text file atomically, as UTF-8; names of files that are not UTF-8 have question marks."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")
