"""A run that is killed and started again equals one that never was, bit for bit."""

import random
import signal
import time

import pytest

from tests.faults.processes import TOY, metrics, result, wait_for_checkpoint, wait_for_line, whole


@pytest.mark.slow
def test_a_run_killed_at_random_equals_the_unbroken_one(command, start, unbroken, tmp_path):
    broken = tmp_path
    # A step takes about ten milliseconds: the first kill falls between checkpoints or into the writing of one, the
    # others anywhere, start-up and evaluation included.
    rng = random.Random(0)
    process = start("quickstart", f"--workdir={broken}", *TOY)
    wait_for_checkpoint(broken)
    for _ in range(3):
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        process.wait()
        process = start("quickstart", f"--workdir={broken}", *TOY)
        wait_for_line(process, "continuing after step")
    process.kill()
    process.wait()
    assert not (broken / "result.json").exists()
    status, output = command("quickstart", f"--workdir={broken}", *TOY)
    assert status == 0, output
    assert result(broken) == result(unbroken)
    assert metrics(broken) == metrics(unbroken)


@pytest.mark.slow
def test_a_run_killed_in_its_first_save_begins_again_and_equals_the_unbroken_one(command, start, unbroken, tmp_path):
    for attempt in range(5):  # a save takes a few hundredths of a second, and may end before the kill arrives
        broken = tmp_path / str(attempt)
        process = start("quickstart", f"--workdir={broken}", *TOY)
        while not unfinished(broken) and process.poll() is None:
            time.sleep(0.001)
        process.kill()
        process.wait()
        if not whole(broken):
            break
    assert unfinished(broken)
    assert not whole(broken)
    status, output = command("quickstart", f"--workdir={broken}", *TOY)
    assert status == 0, output
    assert "continuing after step" not in output
    assert not unfinished(broken)
    assert result(broken) == result(unbroken)
    assert metrics(broken) == metrics(unbroken)


@pytest.mark.slow
def test_many_kills_some_of_them_inside_a_save(command, start, tmp_path, long):
    most, most_inside = (20, 5) if long else (5, 2)
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    options = ["--width=2", "--image_size=8", "--steps=400", "--log_every=5", "--eval_every=40", "--checkpoint_every=4"]
    status, output = command("quickstart", f"--workdir={unbroken}", *options)
    assert status == 0, output

    rng = random.Random(0)
    inside = kills = 0
    while kills < most or inside < most_inside:
        process = start("quickstart", f"--workdir={broken}", *options)
        if kills:
            wait_for_line(process, "continuing after step")
        else:
            wait_for_checkpoint(broken)
        until = time.monotonic() + rng.uniform(0, 0.4)
        while time.monotonic() < until or (inside < most_inside and not unfinished(broken) and process.poll() is None):
            time.sleep(0.001)
        process.kill()
        process.wait()
        assert not (broken / "result.json").exists(), f"finished after {kills} kills, {inside} inside a save"
        kills += 1
        inside += bool(unfinished(broken))
    print(f"{kills} kills, {inside} inside a save")
    status, output = command("quickstart", f"--workdir={broken}", *options)
    assert status == 0, output
    assert result(broken) == result(unbroken)
    assert metrics(broken) == metrics(unbroken)


def unfinished(workdir):
    """Checkpoints that are being written."""
    return list((workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*"))


@pytest.mark.slow
def test_sigterm_saves_leaves_with_75_and_the_run_continues_equal(command, start, unbroken, tmp_path):
    stopped = tmp_path
    process = start("quickstart", f"--workdir={stopped}", *TOY)
    wait_for_line(process, "step 5 of")
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75, output
    assert time.monotonic() - began < 10
    assert "the same command continues the run" in output
    assert not (stopped / "result.json").exists()

    status, output = command("quickstart", f"--workdir={stopped}", *TOY)
    assert status == 0, output
    assert result(stopped) == result(unbroken)
    assert metrics(stopped) == metrics(unbroken)


@pytest.mark.slow
def test_a_finished_run_is_left_as_it_is(command, tmp_path):
    command("quickstart", f"--workdir={tmp_path}", *TOY)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != ".lock"}
    status, output = command("quickstart", f"--workdir={tmp_path}", *TOY)
    assert status == 0
    assert "nothing to do" in output
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != ".lock"} == before


@pytest.mark.slow
def test_a_run_killed_before_and_after_its_backbone_begins_to_learn_equals_the_unbroken_one(command, start, tmp_path):
    weights, unbroken, broken = tmp_path / "weights", tmp_path / "unbroken", tmp_path / "broken"
    status, output = command("quickstart", f"--workdir={weights}", *TOY)
    assert status == 0, output
    # 22 steps an epoch: the backbone begins to learn after step 44.
    options = [
        *("--width=2", "--image_size=8", "--steps=88", "--eval_every=44", "--checkpoint_every=4", "--log_every=4"),
        *(f"--init_from={weights}", "--freeze=stem..stage3", "--unfreeze_at=1.96"),
    ]
    status, output = command("quickstart", f"--workdir={unbroken}", *options)
    assert status == 0, output
    for line in ("step 12 of 88", "step 44 of 88", "step 64 of 88"):
        process = start("quickstart", f"--workdir={broken}", *options)
        wait_for_line(process, line)
        process.kill()
        process.wait()
        assert not (broken / "result.json").exists()
    status, output = command("quickstart", f"--workdir={broken}", *options)
    assert status == 0, output
    assert result(broken) == result(unbroken)
    assert metrics(broken) == metrics(unbroken)
