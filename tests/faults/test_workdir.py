"""What happens to a run's folder when something is wrong with it."""

import pytest

from tests.faults.processes import TOY, wait_for_line


@pytest.mark.slow
def test_a_second_process_is_kept_out_of_a_running_workdir(command, start, tmp_path):
    first = start("quickstart", f"--workdir={tmp_path}", *TOY, "--epochs=500")
    wait_for_line(first, "step ")
    status, output = command("quickstart", f"--workdir={tmp_path}", *TOY, "--epochs=500")
    assert status == 2
    assert f"process {first.pid} on" in output
    first.kill()  # and the lock dies with its holder
    first.communicate()
    status, output = command("quickstart", f"--workdir={tmp_path}", *TOY, "--epochs=500", "--steps=1")
    assert "is training in it" not in output


@pytest.mark.slow
def test_another_config_is_refused_and_the_fields_are_named(command, tmp_path):
    command("quickstart", f"--workdir={tmp_path}", *TOY)
    status, output = command("quickstart", f"--workdir={tmp_path}", *TOY, "--seed=3", "--learning_rate=0.5")
    assert status == 2
    assert "--seed=3 where the run has 0" in output
    assert "--learning_rate=0.5 where the run has 0.1" in output
    assert "Traceback" not in output


def test_debug_shows_the_traceback(command, tmp_path):
    status, output = command("quickstart", f"--workdir={tmp_path}", "--batch_size=0", "--debug")
    assert status == 2
    assert "Traceback" in output
    assert "error: --batch_size=0 must be at least 1" in output


def test_a_workdir_that_cannot_be_written_is_refused(command):
    status, output = command("quickstart", "--workdir=/proc/run", *TOY)  # where root cannot write either
    assert status == 2
    assert "--workdir=/proc/run: cannot be written" in output


def test_a_workdir_that_is_a_file_is_refused(command, tmp_path):
    (tmp_path / "run").write_text("not a folder")
    status, output = command("quickstart", f"--workdir={tmp_path}/run", *TOY)
    assert status == 2
    assert f"--workdir={tmp_path}/run: cannot be written" in output


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_is_named_set_aside_and_the_one_before_used(command, tmp_path):
    command("quickstart", f"--workdir={tmp_path}", *TOY)
    checkpoints = tmp_path / "checkpoints"
    newest = max(int(path.name) for path in checkpoints.iterdir())
    for file in (checkpoints / str(newest)).rglob("d/*"):
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    (tmp_path / "result.json").unlink()
    status, output = command("quickstart", f"--workdir={tmp_path}", *TOY)
    assert status == 0, output
    assert f"checkpoints/{newest} is damaged" in output
    assert "continuing after step" in output
    assert (checkpoints / f"{newest}.damaged").is_dir()

    for path in checkpoints.iterdir():
        for file in path.rglob("manifest.ocdbt"):
            file.write_bytes(b"")
    (tmp_path / "result.json").unlink()
    status, output = command("quickstart", f"--workdir={tmp_path}", *TOY)
    assert status == 2
    assert "every checkpoint is damaged" in output
