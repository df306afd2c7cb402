"""The process of a command from its first import on: output that never fails, signals, packages that are missing.

Imports the standard library alone, so that it is in force before anything else loads.
"""

import contextlib
import errno
import io
import multiprocessing
import os
import sys
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from resnet_jax.errors import BAD_INPUT, INTERRUPTED
from resnet_jax.runtime import signals

# Extras of this package, by the name under which what they install is imported.
EXTRAS: Mapping[str, str] = {
    "cv2": "fast",
    "huggingface_hub": "pretrained",
    "safetensors": "pretrained",
    "tensorboardX": "tensorboard",
    "tensorflow": "prepare",
    "wandb": "wandb",
}


_begun: list[bool] = []


def begun() -> bool:
    """Return whether this process is a command's own, so that its signals and its end are ours."""
    return bool(_begun)


def begin() -> None:
    """Prepare the process of a command; nothing in a data worker, or where the package is only imported."""
    command = sys.argv[0] == "-m" or os.path.basename(sys.argv[0]).startswith("resnet-jax")
    if not command or multiprocessing.parent_process() is not None:
        return
    _begun.append(True)
    signals.end_at_once(INTERRUPTED, "interrupted before it began")
    make_output_unfailing()
    sys.excepthook = _report_missing_package


# Of a disk; a reader that has gone, or a closed stream, wants nothing more.
LOST = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class UnfailingFile(io.FileIO):
    """An open file whose failing writes are dropped: a closed pipe or a full disk behind `>`.

    Attributes:
        lost: why something that somebody wants is not there, such as a full disk; "" where nothing is lost.
    """

    lost = ""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError as error:
            if error.errno in LOST:
                self.lost = error.strerror or str(error)
            return memoryview(data).nbytes


def say_what_output_lost() -> None:
    """Say on the error stream that what was printed is not where the shell was to write it, if so."""
    with contextlib.suppress(ValueError):  # a closed stream
        sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if lost := getattr(raw, "lost", ""):
        print(f"warning: what was printed could not be written ({lost}); make room, and repeat it", file=sys.stderr)


def make_output_unfailing() -> None:
    """Let no output decide a command: neither a reader that has gone, nor a closed stream, nor an encoding."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:  # closed; the next file that is opened would get its number, and all that is printed
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        if number == 0:
            continue
        old = getattr(sys, name)
        file = UnfailingFile(number, "w", closefd=False)
        stream = io.TextIOWrapper(
            io.BufferedWriter(file),
            getattr(old, "encoding", None) or "utf-8",
            "backslashreplace",
            line_buffering=name == "stderr" or file.isatty(),
            write_through=getattr(old, "write_through", False),
        )
        setattr(sys, name, stream)


def missing_package(error: ModuleNotFoundError) -> str | None:
    """Return the line for a package that is not installed; None where one of our own modules is missing."""
    package = (error.name or "").partition(".")[0]
    if package in ("", "resnet_jax", "experiments"):
        return None
    extra = EXTRAS.get(package)
    remedy = f"install this package with its extra `{extra}`" if extra else f"pip install {package}"
    return f"error: the package {package} is not installed: {remedy}"


def _report_missing_package(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, ModuleNotFoundError) and (line := missing_package(error)):
        print(line, file=sys.stderr)
        os._exit(BAD_INPUT)
    traceback.print_exception(kind, error, trace)
