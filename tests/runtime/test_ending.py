"""Two processes of one run: an error in one ends both, soon, with its line and its status."""

import re
import signal
import time

import pytest

from resnet_jax.runtime.distributed import different
from tests.runtime.scripts import as_command, free_port, wait_for

# Most compute nothing: a process that waits in a collective waits outside of Python, as one that sleeps does.
PAIR = as_command("""
    import jax
    import numpy as np
    from jax.experimental.multihost_utils import process_allgather
    from resnet_jax.errors import InputError
    from resnet_jax.runtime.distributed import check_equal, connect
    from resnet_jax.runtime.ending import ending_together
    from resnet_jax.runtime.watchdog import beat, watchdog
    number, act = int(argv[1]), argv[2]
    connect(argv[0], 2, number, 60)
    with ending_together(debug=False), watchdog(0.02 if act == "stall" and number == 1 else 0):
        if act == "stopped":
            process_allgather(np.array(number))  # so that it is compiled
            if number == 1:
                os.kill(os.getpid(), signal.SIGSTOP)
            with watchdog(0.02):
                beat()
                process_allgather(np.array(number))
        print("connected", time.monotonic(), flush=True)
        if act == "differ":
            check_equal("options", lambda: {"--width": 2 + number, "--depth": 8})
        if act == "same":
            check_equal("options", lambda: {"--width": 2})
            return
        if number == 1 and act == "input":
            raise InputError("val/3.jpg cannot be read")
        if number == 1 and act == "disk":
            raise OSError(28, "No space left on device", "metrics.jsonl")
        if number == 1 and act == "interrupt":
            raise KeyboardInterrupt
        if number == 0 and act == "first":
            raise ValueError("a bug")
        if number == 0 and act == "after":
            return  # and waits in JAX's shutdown barrier
        if number == 1 and act == "after":
            time.sleep(3)
            raise InputError("late")
        if act in ("killed", "outrun"):
            lost = "INTERNAL: Gloo all-reduce failed: [pair.cc:538] Read error [::1]:23186: Connection reset by peer"
            time.sleep(1)
            if number == 0:
                raise jax.errors.JaxRuntimeError(lost)  # as in a sum over both
            if act == "outrun":
                raise InputError("val/3.jpg cannot be read")
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 1 and act == "interrupted twice":
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            print("still here", flush=True)
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(250)
""")


def run_pair(script, act: str) -> list[tuple[int, str]]:
    address = f"127.0.0.1:{free_port()}"
    two = [script(PAIR, address, number, act) for number in range(2)]
    # Without a guard they hang for 300 s. What they need is the time of their imports and a few seconds.
    outputs = [process.communicate(timeout=120)[0] for process in two]
    ended = time.monotonic()  # of one clock for all processes
    assert ended - max(float(at) for output in outputs for at in re.findall(r"^connected (.*)", output, re.M)) < 30
    return [(process.returncode, output) for process, output in zip(two, outputs, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "status", "line"),
    [
        ("input", 2, "error: val/3.jpg cannot be read"),
        ("disk", 2, "error: metrics.jsonl: No space left on device"),
        ("interrupt", 75, "interrupted; what was saved stays"),
        ("after", 2, "error: late"),
        ("outrun", 2, "error: val/3.jpg cannot be read"),  # its closed connection arrives before its line
    ],
)
def test_an_error_of_one_process_ends_both_with_its_line_and_status(script, act, status, line):
    (first, other), (second, own) = run_pair(script, act)
    assert (first, second) == (status, status), other + own
    assert f"process 1 has ended: {line}" in other
    assert line in own
    assert "Traceback" not in own + other


@pytest.mark.slow
def test_when_one_process_is_killed_the_other_says_that_it_is_gone(script):
    (first, other), (second, _) = run_pair(script, "killed")
    assert (first, second) == (70, -signal.SIGKILL)
    assert "error: another process of the run is gone (Read error [::1]:23186: Connection reset by peer);" in other
    assert "Traceback" not in other


@pytest.mark.slow
def test_a_bug_in_the_first_process_ends_both_with_its_traceback_in_one(script):
    (first, own), (second, other) = run_pair(script, "first")
    assert (first, second) == (1, 1), own + other
    assert "ValueError: a bug" in own
    assert "process 0 has ended: ValueError: a bug" in other
    assert "Traceback" in own
    assert "Traceback" not in other


def test_processes_that_differ_are_named_in_one_line(script):
    for status, output in run_pair(script, "differ"):
        assert status == 2, output
        assert "error: the processes of the run differ: --width is 2 in process 0, 3 in process 1\n" in output
        assert "has ended" not in output  # each has its own line


def test_equal_processes_go_on(script):
    assert [status for status, _ in run_pair(script, "same")] == [0, 0]


@pytest.mark.slow
def test_a_stalled_process_shows_the_stacks_of_both_and_ends_both_with_70(script):
    for status, output in run_pair(script, "stall"):
        assert status == 70, output
        assert "no step for" in output
        assert "in main" in output


@pytest.mark.slow
def test_when_one_process_is_stopped_the_watchdog_of_the_other_ends_both(script):
    address = f"127.0.0.1:{free_port()}"
    waiting, stopped = (script(PAIR, address, number, "stopped") for number in range(2))
    assert "process_allgather" in wait_for(waiting, "error: no step for")  # the stack of where it waits
    stopped.send_signal(signal.SIGCONT)
    output, _ = stopped.communicate(timeout=60)
    assert (waiting.wait(timeout=60), stopped.returncode) == (70, 70), output
    assert "process 0 has ended: error: no step for" in output


@pytest.mark.slow
def test_the_third_interrupt_of_one_of_two_processes_ends_both(script):
    (first, other), (second, own) = run_pair(script, "interrupted twice")
    assert (first, second) == (75, 75), other + own
    assert "still here" in own
    assert "process 1 has ended: interrupted" in other


def test_what_differs_is_said_once_for_all_that_have_it():
    same = {"a": "1", "b": "2"}
    assert different([same, same]) == "equal"
    assert different([same, {"a": "1"}]).endswith("differ: b is 2 in process 0, missing in process 1")
    many = [{"a": str(i > 0)} for i in range(6)]
    assert different(many).endswith("a is False in process 0, True in processes 1, 2, 3 and 2 more")
