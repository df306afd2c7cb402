"""Two processes on loopback are one run."""

import json
import re
import shutil
import signal
import socket
import time

import pytest

from tests.conftest import QUICK
from tests.faults.conftest import start_command
from tests.faults.processes import TOY, metrics, result, wait_for_checkpoint, wait_for_line, whole
from tests.faults.toy import photographs
from tests.masked_pictures import write_pictures


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def pair(start, name, *arguments, **variables):
    address = f"--coordinator_address=127.0.0.1:{free_port()}"
    return [start(name, *arguments, address, "--num_processes=2", f"--process_id={i}", **variables) for i in range(2)]


@pytest.mark.slow
def test_two_processes_train_three_steps_as_one_does(start, command, tmp_path):
    arguments = [*TOY, "--steps=3", "--log_every=1"]
    two = pair(start, "quickstart", f"--workdir={tmp_path}/two", *arguments)
    outputs = [process.communicate(timeout=240)[0] for process in two]
    assert [process.returncode for process in two] == [0, 0], "\n".join(outputs)
    command("quickstart", f"--workdir={tmp_path}/one", *arguments)
    ours, one = (metrics(tmp_path / n) for n in ("two", "one"))
    assert [row["step"] for row in ours] == [row["step"] for row in one]
    assert result(tmp_path / "two")["num_examples"] == 360
    for a, b in zip(ours, one, strict=True):
        assert abs(a["loss"] - b["loss"]) < 1e-4 * abs(b["loss"])


@pytest.mark.slow
def test_a_sigterm_to_one_process_stops_both_and_they_continue(start, tmp_path):
    # With several steps a call, the step that one process stops after is not any step of the other.
    arguments = [f"--workdir={tmp_path}", *TOY, "--epochs=100", "--steps_per_call=3"]
    two = pair(start, "quickstart", *arguments)
    wait_for_line(two[0], "step 5 of")
    two[1].send_signal(signal.SIGTERM)
    outputs = [process.communicate(timeout=120)[0] for process in two]
    assert [process.returncode for process in two] == [75, 75], "\n".join(outputs)
    two = pair(start, "quickstart", *arguments)
    wait_for_line(two[0], "continuing after step")


@pytest.mark.slow
def test_two_processes_train_a_scanned_network(start, command, tmp_path):
    # Its state is stacked and taken apart outside of the compiled step, by both processes.
    deep = ["--dataset=digits", "--image_size=8", "--width=2", "--batch_size=32", "--steps=2", "--checkpoint_every=1"]
    arguments = ["--depth=20", "--scan", "--log_every=1", "--num_workers=0", *deep]
    two = pair(start, "cifar", f"--workdir={tmp_path}/two", *arguments, XLA_FLAGS=QUICK)
    outputs = [process.communicate(timeout=500)[0] for process in two]
    assert [process.returncode for process in two] == [0, 0], "\n".join(outputs)
    command("cifar", f"--workdir={tmp_path}/one", *arguments, XLA_FLAGS=QUICK)
    for a, b in zip(metrics(tmp_path / "two"), metrics(tmp_path / "one"), strict=True):
        assert abs(a["loss"] - b["loss"]) < 1e-4 * abs(b["loss"])


@pytest.mark.slow
def test_two_processes_count_the_pixels_that_one_counts(start, command, tmp_path):
    root = write_pictures(tmp_path / "set", {"train": 8, "val": 7}, sizes=((24, 32), (20, 28)))
    network = ["--model=unet_resnet8_cifar", "--width=4", "--skips=add", "--batch_size=4", "--crop_size", "16", "24"]
    arguments = [f"--data_dir={root}", *network, "--steps=2", "--class_weights=", "--num_workers=0"]
    assert command("segment", f"--workdir={tmp_path}/first", *arguments, XLA_FLAGS=QUICK)[0] == 0
    # With a rate of 0 and statistics that stay, both evaluate one network, bit for bit.
    arguments += [f"--weights={tmp_path}/first", "--learning_rate=0", "--freeze_statistics"]
    two = pair(start, "segment", f"--workdir={tmp_path}/two", *arguments, XLA_FLAGS=QUICK)
    outputs = [process.communicate(timeout=300)[0] for process in two]
    assert [process.returncode for process in two] == [0, 0], "\n".join(outputs)
    command("segment", f"--workdir={tmp_path}/one", *arguments, XLA_FLAGS=QUICK)
    ours, one = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("two", "one"))
    assert 0 < one["miou"] < 1
    for name in ("miou", "pixel_accuracy", "class_accuracy", "boundary_f", "num_examples"):
        assert ours[name] == one[name], name


@pytest.mark.slow
def test_two_processes_divide_the_state_and_one_continues_with_all_of_it(start, command, tmp_path):
    wide = ["--dataset=digits", "--image_size=8", "--width=16", "--batch_size=32", "--ema=0.5", "--num_workers=0"]
    arguments = ["--depth=20", "--scan", *wide, "--steps=4", "--log_every=1", "--checkpoint_every=2"]
    two = pair(start, "cifar", f"--workdir={tmp_path}/two", *arguments, "--fsdp", XLA_FLAGS=QUICK)
    outputs = [process.communicate(timeout=500)[0] for process in two]
    assert [process.returncode for process in two] == [0, 0], "\n".join(outputs)
    command("cifar", f"--workdir={tmp_path}/one", *arguments, XLA_FLAGS=QUICK)
    for a, b in zip(metrics(tmp_path / "two"), metrics(tmp_path / "one"), strict=True):
        assert abs(a["loss"] - b["loss"]) < 1e-4 * abs(b["loss"])

    shutil.rmtree(tmp_path / "two/checkpoints/4")
    (tmp_path / "two/result.json").unlink()
    status, output = command("cifar", f"--workdir={tmp_path}/two", *arguments, XLA_FLAGS=QUICK)
    assert status == 0, output
    assert "continuing after step 2" in output
    for a, b in zip(metrics(tmp_path / "two"), metrics(tmp_path / "one"), strict=True):
        assert abs(a["loss"] - b["loss"]) < 1e-4 * abs(b["loss"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "variables", "says", "began"),
    [
        (["--width=4"], {}, "--width is 2 in process 0, 4 in process 1", False),
        # What the environment of one process alone says stands in its programs only.
        ([], {"RESNET_JAX_FORMS": ""}, "the lowered step is ", True),
    ],
)
def test_processes_that_differ_end_before_they_train(start, tmp_path, options, variables, says, began):
    address = f"--coordinator_address=127.0.0.1:{free_port()}"
    common = [f"--workdir={tmp_path}", *TOY, address, "--num_processes=2"]
    two = [
        start("quickstart", *common, "--process_id=0"),
        start("quickstart", *common, "--process_id=1", *options, **variables),
    ]
    for process in two:
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 2, output
        assert f"error: the processes of the run differ: {says}" in output
        assert "step 5 of" not in output
    assert (tmp_path / "config.json").exists() is began
    assert not whole(tmp_path)


@pytest.mark.slow
def test_an_error_of_one_ends_the_other_that_waits_in_a_collective(start, tmp_path):
    """One's share of the validation pictures is damaged while both train; the other waits for its part of a sum."""
    address = f"--coordinator_address=127.0.0.1:{free_port()}"
    toy = ["--dataset=folder", "--width=2", "--image_size=8", "--batch_size=8", "--epochs=500", "--eval_every=60"]
    two = []
    for number in range(2):  # each with a copy of the data
        photographs(home := tmp_path / str(number))
        own = [f"--data_dir={home}/photographs", f"--process_id={number}", "--num_processes=2", address]
        two.append(start("quickstart", f"--workdir={tmp_path}/run", *toy, *own, "--num_workers=0", "--log_every=5"))
    wait_for_line(two[0], "step 5 of")
    for picture in (tmp_path / "1" / "photographs" / "val").glob("*/*.png"):
        picture.write_bytes(b"no picture")
    wait_for_line(two[1], "error: ")
    began = time.monotonic()
    other, _ = two[0].communicate(timeout=120)
    two[1].wait(timeout=30)
    print(f"the other ended after {time.monotonic() - began:.1f} s")
    assert time.monotonic() - began < 30
    assert [process.returncode for process in two] == [2, 2], other
    assert re.search(r"^process 1 has ended: error: \S+/val/\S+\.png: ", other, re.MULTILINE), other


@pytest.mark.slow
def test_an_interrupt_of_two_processes_saves_in_both(start, tmp_path):
    arguments = [f"--workdir={tmp_path}", *TOY, "--epochs=100"]
    two = pair(start, "quickstart", *arguments)
    wait_for_line(two[0], "step 5 of")
    for process in two:  # as a terminal does
        process.send_signal(signal.SIGINT)
    outputs = [process.communicate(timeout=120)[0] for process in two]
    assert [process.returncode for process in two] == [75, 75], "\n".join(outputs)
    assert "which is saved" in outputs[0]


def to_the_end(two):
    outputs = [process.communicate(timeout=240)[0] for process in two]
    assert [process.returncode for process in two] == [0, 0], "\n".join(outputs)
    return outputs


@pytest.fixture(scope="module")
def unbroken_pair(tmp_path_factory):
    """The folder of a run of two processes that nothing disturbed."""
    workdir = tmp_path_factory.mktemp("unbroken")
    to_the_end(pair(start_command, "quickstart", f"--workdir={workdir}", *TOY))
    return workdir


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_when_one_of_two_is_killed_the_other_ends_within_30_seconds_and_both_continue_equal(
    start, tmp_path, unbroken_pair, killed
):
    two = pair(start, "quickstart", f"--workdir={tmp_path}", *TOY)
    wait_for_checkpoint(tmp_path)
    two[killed].kill()
    began = time.monotonic()
    output, _ = two[1 - killed].communicate(timeout=120)
    seconds, status = time.monotonic() - began, two[1 - killed].returncode
    print(f"process {killed} killed: the other ended after {seconds:.1f} s with {status}:\n{output}")
    assert seconds < 30
    if status == 70:
        assert "gone" in output
        assert "the same command continues the run" in output
    else:  # JAX aborts when the first process, which keeps the store of all, is lost
        assert (killed, status) == (0, -signal.SIGABRT)
    assert not (tmp_path / "result.json").exists()
    outputs = to_the_end(pair(start, "quickstart", f"--workdir={tmp_path}", *TOY))
    assert "continuing after step" in outputs[0]
    assert result(tmp_path) == result(unbroken_pair)
    assert metrics(tmp_path) == metrics(unbroken_pair)


@pytest.mark.slow
def test_when_one_of_two_is_stopped_the_other_ends_within_a_minute(start, tmp_path):
    two = pair(start, "quickstart", f"--workdir={tmp_path}", *TOY, "--epochs=500")
    wait_for_line(two[0], "step 5 of")
    two[1].send_signal(signal.SIGSTOP)
    began = time.monotonic()
    output, _ = two[0].communicate(timeout=120)
    print(f"process 1 stopped: the other ended after {time.monotonic() - began:.1f} s with {two[0].returncode}")
    assert time.monotonic() - began < 60
    assert two[0].returncode in (70, -signal.SIGABRT), output  # JAX misses a heartbeat, and aborts
