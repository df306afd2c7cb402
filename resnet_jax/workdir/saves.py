"""Saves that may fail while the training goes on."""

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from resnet_jax.workdir.checkpoint import save
from resnet_jax.workdir.fingerprint import Fingerprint
from resnet_jax.workdir.quiet import one_line


class Saves:
    """Saves that may fail: each failure is one line, nothing of it stays in the folder, and the next save is tried.

    Attributes:
        problem: why the newest save failed; "" where it did not.
    """

    def __init__(self, manager: Any, report: Callable[[str], None], note: Callable[[], None] = lambda: None):
        """Begin without a save.

        Args:
            manager: of the checkpoints.
            report: receives the line of a failure.
            note: called when a save is on the disk.
        """
        self.manager, self.report, self.note = manager, report, note
        self.problem = ""
        self._writing: int | None = None  # step

    def write(
        self, step: int, tree: Any, prints: Fingerprint | None = None, record: dict[str, Any] | None = None
    ) -> None:
        """Start writing checkpoint `step`, as `save` does, once the one before is on the disk."""
        self.finish()
        self._writing = step
        self._attempt(lambda: _check_writable(Path(self.manager.directory)), everywhere=True)
        if self._writing is not None:
            self._attempt(lambda: save(self.manager, step, tree, prints, record))

    def finish(self) -> None:
        """Wait until the newest save is on the disk, or has failed."""
        if self._writing is not None:
            self._attempt(self.manager.wait_until_finished)
            if not self.problem:
                self.note()
            self._writing = None

    def close(self) -> None:
        """Wait for the newest save, and close the manager."""
        self.finish()
        with suppress(Exception):  # of a save that failed, which was reported
            self.manager.close()

    def _attempt(self, work: Callable[[], None], *, everywhere: bool = False) -> None:
        self.problem = ""
        try:
            work()
        except Exception as error:  # Orbax raises OSError, ValueError or a bare Exception
            self.problem = one_line(error)
        if everywhere and jax.process_count() > 1:  # Orbax would wait for a process that does not write
            good = multihost_utils.process_allgather(np.array(not self.problem))
            self.problem = self.problem or ("" if good.all() else "another process cannot write")
        if self.problem:
            self._clear(step=self._writing)
            self._writing = None

    def _clear(self, step: int | None) -> None:
        directory = Path(self.manager.directory)
        self.report(
            f"warning: checkpoint {directory}/{step} could not be saved ({self.problem}); "
            "the training goes on, and the next save tries again"
        )
        if jax.process_index() == 0:
            for unfinished in directory.glob(f"{step}.orbax-checkpoint-tmp*"):
                shutil.rmtree(unfinished, ignore_errors=True)
        with suppress(Exception):  # the folder itself may be gone
            self.manager.reload()  # of a failed save, the manager's list of checkpoints lacks another one


def _check_writable(directory: Path) -> None:
    """Raise OSError where no folder can be made: Orbax then leaves threads that never end, nor does the process."""
    if jax.process_index() == 0:
        os.rmdir(tempfile.mkdtemp(prefix=".probe", dir=directory))
