"""Damaged checkpoints: which errors prove damage, and how such a checkpoint is set aside."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
from jax.experimental import multihost_utils

ASIDE = ".damaged"  # part of the name of a checkpoint that was set aside

# What TensorStore reports of files that may be whole.
NOT_DAMAGE = re.compile("PERMISSION_DENIED|Permission denied|Input/output error|Stale file handle|UNAVAILABLE")


def is_damage(error: Exception) -> bool:
    """Return whether an error of a restore proves damage; a file that cannot be opened may be whole."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return True
    return not (isinstance(error, OSError) or NOT_DAMAGE.search(str(error)))


def check_readable(folder: Path) -> None:
    """Raise OSError where a file of the folder cannot be opened."""

    def refuse(error: OSError) -> None:
        raise error

    for parent, _, files in os.walk(folder, onerror=refuse):
        for name in files:
            with (Path(parent) / name).open("rb"):
                pass


def set_aside(directory: Path, damaged: Sequence[tuple[int, str]], report: Callable[[str], None]) -> None:
    """Rename damaged checkpoints to `<step>.damaged`; every process of the run calls this.

    Args:
        directory: of the checkpoints.
        damaged: their steps, and what is wrong with each.
        report: receives one line for each.
    """
    for step, problem in damaged:
        folder = directory / str(step)
        aside = _free_name(directory / f"{step}{ASIDE}")
        report(f"checkpoint {folder} is damaged ({problem}); it is set aside as {aside.name}")
        if jax.process_index() == 0:
            folder.rename(aside)
    multihost_utils.sync_global_devices("damaged checkpoints are set aside")


def names_set_aside(directory: Path) -> list[str]:
    """Return the names of the checkpoints that were set aside."""
    return sorted(path.name for path in directory.glob(f"*{ASIDE}*"))


def _free_name(path: Path) -> Path:
    names = [path, *(path.with_name(f"{path.name}.{n}") for n in range(2, 100))]
    return next(name for name in names if not name.exists())
