"""Silence around Orbax, whose logs and late exceptions bury the one line that a person needs."""

import errno
import logging
import os
import sys
import warnings
from typing import Any


def quieten() -> None:
    """Silence what Orbax logs, and what its unfinished reads report after a restore that failed.

    It leaves a restore at the first array that cannot be read. The others then find their event loop closed, in threads
    of their own, where no caller can catch it: 326 lines for 80 arrays.
    """
    for name in ("absl", "asyncio", "orbax"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", r"coroutine '.*_read_array_index.*' was never awaited", RuntimeWarning)
    if getattr(sys.unraisablehook, "__module__", None) == __name__:
        return
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        error = unraisable.exc_value
        if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
            before(unraisable)

    sys.unraisablehook = hook


def one_line(error: Exception) -> str:
    """Return an error of Orbax or of the file system as one line."""
    text = str(error)
    for number in (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO):
        if getattr(error, "errno", None) == number or os.strerror(number) in text:
            return os.strerror(number)
    return next(iter(text.strip().splitlines()), type(error).__name__)[:120]
