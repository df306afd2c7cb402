"""A training outlives saves and log rows that fail, and does not end as if all were well."""

import errno
import os
import shutil
import subprocess

import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.errors import InputError
from resnet_jax.run.train import train
from resnet_jax.workdir import checkpoint, metrics_log, saves
from resnet_jax.workdir.folder import read_result
from resnet_jax.workdir.saves import Saves
from tests.faults.toy import config, photographs


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MiB; a function mounts it anew with other options."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts a small file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "small", disk], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def tree_of(step: int) -> dict:
    kernel = np.random.default_rng(step).normal(size=(400, 400)).astype(np.float32)  # 640 kB that do not compress
    return {"kernel": jnp.asarray(kernel), "step": jnp.int32(step)}


def save(saves: Saves, step: int) -> str:
    """Save; return what is wrong with it."""
    saves.write(step, tree_of(step))
    saves.finish()
    return saves.problem


def kept(disk) -> list[str]:
    return sorted(path.name for path in (disk / "checkpoints").iterdir())


def test_a_full_disk_costs_one_line_and_one_checkpoint(small_disk):
    lines: list[str] = []
    saves = Saves(checkpoint.open_manager(small_disk / "checkpoints", keep=2), lines.append)
    assert save(saves, 1) == ""
    (small_disk / "other").write_bytes(bytes(2_000_000))
    assert save(saves, 2) == "No space left on device"
    assert kept(small_disk) == ["1"]  # nothing of the failed one
    assert save(saves, 3) == "No space left on device"
    assert len(lines) == 2
    assert not [line for line in lines if "\n" in line]
    assert "checkpoints/2 could not be saved (No space left on device); the training goes on" in lines[0]
    (small_disk / "other").unlink()
    assert [save(saves, step) for step in (4, 5, 6)] == ["", "", ""]
    assert kept(small_disk) == ["5", "6"]  # and the count of those to keep is right
    saves.close()
    with checkpoint.open_reader(small_disk / "checkpoints") as reader:
        checkpoint.restore_step(reader, 6, tree_of(0))


def test_a_folder_that_cannot_be_written_costs_one_line_and_leaves_no_thread(small_disk):
    lines: list[str] = []
    saves = Saves(checkpoint.open_manager(small_disk / "checkpoints", keep=2), lines.append)
    assert save(saves, 1) == ""
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert save(saves, 2) == "Read-only file system"
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert save(saves, 3) == ""
    assert kept(small_disk) == ["1", "3"]
    shutil.rmtree(small_disk / "checkpoints")
    assert "No such file or directory" in save(saves, 4)
    assert len(lines) == 2
    saves.close()


def full(*arguments, **options):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def home(tmp_path):
    photographs(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_training_goes_on_after_a_save_and_a_row_that_failed(home, monkeypatch, capsys):
    whole_save, whole_append = saves.save, metrics_log.append_row
    monkeypatch.setattr(
        saves, "save", lambda manager, step, *rest: (full if step == 2 else whole_save)(manager, step, *rest)
    )
    monkeypatch.setattr(
        metrics_log, "append_row", lambda path, row: (full if row["step"] == 2 else whole_append)(path, row)
    )
    with pytest.raises(InputError, match=r"the end of metrics\.jsonl, of step 4, could not be written"):
        train(config(home))  # rows from step 2 on wait for the one that cannot be written
    printed = capsys.readouterr().out
    assert printed.count("warning: ") == 2
    assert "checkpoints/2 could not be saved (No space left on device); the training goes on" in printed
    assert not (home / "run" / "result.json").exists()
    monkeypatch.undo()
    assert train(config(home))["step"] == 4


@pytest.mark.slow
def test_a_training_none_of_whose_saves_succeeded_begins_again(home, monkeypatch):
    monkeypatch.setattr(saves, "save", full)
    with pytest.raises(InputError, match=r"make room, and the same command begins again, because nothing was saved$"):
        train(config(home, steps=8))  # behind the step of the third checkpoint
    monkeypatch.undo()
    assert train(config(home, steps=8))["step"] == 8


@pytest.mark.slow
def test_a_folder_that_is_removed_during_a_training_is_named_at_its_end(home, monkeypatch, capsys):
    whole = saves._check_writable

    def removed(checkpoints):
        shutil.rmtree(home / "run", ignore_errors=True)
        whole(checkpoints)

    monkeypatch.setattr(saves, "_check_writable", removed)
    with pytest.raises(InputError, match=r"the last checkpoint, of step 4, .*No such file") as end:
        train(config(home))
    assert "\n" not in str(end.value)
    printed = capsys.readouterr().out
    assert "checkpoints/2 could not be saved ([Errno 2] No such file" in printed
    assert "step 4, epoch " in printed  # it went on to its end


@pytest.mark.slow
def test_a_last_save_that_failed_is_no_good_end(home, monkeypatch):
    whole = saves.save
    monkeypatch.setattr(
        saves, "save", lambda manager, step, *rest: (full if step == 4 else whole)(manager, step, *rest)
    )
    with pytest.raises(InputError, match=r"the last checkpoint, of step 4, could not be written .*; make room"):
        train(config(home))
    assert read_result(home / "run") is None
    assert sorted(path.name for path in (home / "run" / "checkpoints").iterdir()) == ["2"]
    monkeypatch.undo()
    assert train(config(home))["step"] == 4
    assert read_result(home / "run")
