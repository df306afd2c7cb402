"""A run that is killed and started again equals one that never was, bit for bit."""

import json
import random
import signal
import time

from .conftest import TOY


def metrics(workdir):
    return (workdir / "metrics.jsonl").read_text()


def result(workdir):
    everything = json.loads((workdir / "result.json").read_text())
    return {name: everything[name] for name in ("step", "top1", "loss", "num_examples", "fingerprint")}


def wait_for_line(process, text, timeout=120):
    """Read the process's output up to a line that holds `text`."""
    deadline = time.monotonic() + timeout
    for line in process.stdout:
        if text in line:
            return
        assert time.monotonic() < deadline, f"no {text!r} in {timeout} s"
    raise AssertionError(f"the process ended without {text!r}")


def test_a_run_killed_at_random_equals_the_unbroken_one(command, start, tmp_path):
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    status, output = command("quickstart", f"--workdir={unbroken}", *TOY)
    assert status == 0, output

    rng = random.Random(0)
    kills = 0
    while kills < 4 and not (broken / "result.json").exists():
        process = start("quickstart", f"--workdir={broken}", *TOY)
        wait_for_line(process, "step ")
        time.sleep(rng.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
    status, output = command("quickstart", f"--workdir={broken}", *TOY)
    assert status == 0, output
    assert "continuing after step" in output
    assert result(broken) == result(unbroken)
    assert metrics(broken) == metrics(unbroken)


def test_sigterm_saves_leaves_with_75_and_the_run_continues_equal(command, start, tmp_path):
    unbroken, stopped = tmp_path / "unbroken", tmp_path / "stopped"
    status, output = command("quickstart", f"--workdir={unbroken}", *TOY)
    assert status == 0, output

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


def test_a_finished_run_is_left_as_it_is(command, tmp_path):
    command("quickstart", f"--workdir={tmp_path}", *TOY)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != ".lock"}
    status, output = command("quickstart", f"--workdir={tmp_path}", *TOY)
    assert status == 0
    assert "nothing to do" in output
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != ".lock"} == before
