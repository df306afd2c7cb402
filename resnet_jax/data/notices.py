"""One-line notices on standard error."""

import sys
from contextlib import suppress
from functools import cache


@cache  # once in a process, however often a source is opened
def print_notice(line: str) -> None:
    """Print a line to standard error, once; a closed or broken output is not an error."""
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)
