"""The lock on a folder."""

import errno
import fcntl

import pytest

from resnet_jax.errors import InputError
from resnet_jax.files.lock import lock_folder


def test_a_second_holder_is_refused_with_the_name_of_the_first(tmp_path):
    with lock_folder(tmp_path / "run", "--workdir", "is training in it"):
        second = lock_folder(tmp_path / "run", "--workdir", "is training in it")
        with (
            pytest.raises(InputError, match=r"--workdir=.*run: process \d+ on .* is training in it; wait for it"),
            second,
        ):
            pass
    with lock_folder(tmp_path / "run", "--workdir", "is training in it"):
        pass


def test_a_file_system_without_locks_is_one_line(tmp_path, monkeypatch):
    def refused(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    lock = lock_folder(tmp_path, "--workdir", "is training in it")
    with pytest.raises(InputError, match=r"--workdir=.*: its file system has no locks \(No locks available\)"), lock:
        pass
