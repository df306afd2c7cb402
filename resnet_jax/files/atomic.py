"""Files that are there whole or not at all, for a reader, after a crash, and where two processes write the same one."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A path beside `path`, nobody else's, to write to; at the end of the block it takes the place of `path`.

    It is on the disk before it does, so that not even a machine that fails leaves half of it. If the block fails, it is
    removed, and what was at `path` stays.
    """
    # Not by the process's number: in containers they are alike.
    draft = path.with_name(f".{secrets.token_hex(8)}.{path.name}")
    try:
        yield draft
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Write or replace a text file, whole or not at all."""
    with atomic_path(path) as draft:
        draft.write_text(text)
