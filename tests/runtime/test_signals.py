"""Signals and output of a command, from its first import to its end."""

import os
import signal
import subprocess
import sys

import pytest

from tests.runtime.scripts import ROOT, as_command, wait_for

STOP = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1]

WAITS = as_command("""
    print("begins", flush=True)
    time.sleep(100)
""")

TRAINS = as_command("""
    from resnet_jax.errors import InterruptedRunError
    with stop_requests() as requested:
        print("begins", flush=True)
        while not requested():
            time.sleep(0.01)
        print("saving", flush=True)
        time.sleep(float(argv[0]))
        print("saved", flush=True)
    raise InterruptedRunError("stopped by a signal after step 3")
""")

SWALLOWS = as_command("""
    try:
        print("begins", flush=True)
        time.sleep(100)
    except KeyboardInterrupt:  # as a callback of C++ does
        pass
    with stop_requests() as requested:
        print("heard" if requested() else "lost", flush=True)
""")


ENDS_FIRST = as_command("""
    with stop_requests() as requested:
        print("begins", flush=True)
        while not requested():
            time.sleep(0.01)
    print("finished all the same", flush=True)
    check_stop("the report")
    print("reported", flush=True)
""")


IMPORTS = """
import sys, time
sys.argv[0] = "-m"
import experiments
print("imports", flush=True)
time.sleep(100)
"""


@pytest.mark.parametrize("number", STOP)
def test_a_signal_before_the_first_step_ends_with_75_and_no_traceback(script, number):
    process = script(WAITS, stdout=subprocess.PIPE)
    process.stdout.readline()
    process.send_signal(number)
    output = process.stdout.read()
    assert process.wait(30) == 75, output
    assert output.startswith("interrupted; what was saved stays, and the same command may be started again\n")
    assert "Traceback" not in output


def test_a_signal_during_imports_ends_with_75_and_no_traceback(script):
    process = script(IMPORTS)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.stdout.read() == "interrupted before it began\n"
    assert process.wait(30) == 75


def test_a_signal_that_a_callback_swallowed_is_heard_by_the_training(script):
    process = script(SWALLOWS)
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.stdout.read().endswith("heard\n")


def test_a_signal_that_comes_too_late_for_a_training_is_heard_by_what_follows(script):
    process = script(ENDS_FIRST)
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    output = process.stdout.read()
    assert process.wait(30) == 75, output
    assert output.endswith(
        "finished all the same\nstopped by a signal before the report; the same command continues there\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", STOP)
def test_a_training_hears_every_signal_and_a_second_one_waits_for_the_save(script, number):
    process = script(TRAINS, 2)
    process.stdout.readline()
    process.send_signal(number)
    wait_for(process, "saving")
    process.send_signal(number)
    output = process.stdout.read()
    assert process.wait(30) == 75, output
    assert output == "saved\nstopped by a signal after step 3\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_third_signal_ends_at_once(script, number):
    process = script(TRAINS, 100)
    process.stdout.readline()
    process.send_signal(number)
    wait_for(process, "saving")
    process.send_signal(number)
    process.send_signal(signal.SIGHUP)  # another number: equal ones that arrive together count once
    assert process.wait(30) in (128 + number, 128 + signal.SIGHUP)


def test_what_the_parent_ignores_stays_ignored(script):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = script(WAITS.replace("100", "1"))
    finally:
        signal.signal(signal.SIGHUP, before)
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    assert process.wait(30) == 0


def test_a_signal_after_the_end_says_nothing_false(script):
    # In interpreter's exit functions: JAX's, and those of the data pipeline.
    late = "import atexit, time\natexit.register(lambda: (print('ends', flush=True), time.sleep(100)))\n"
    process = script(as_command("print('done', flush=True)").replace("def main", late + "def main"))
    wait_for(process, "ends")
    process.send_signal(signal.SIGINT)
    assert process.stdout.read() == ""
    assert process.wait(30) == 0


PRINTS = as_command("""
    for _ in range(20000):
        print("a line with a dash – and more", flush=True)
    print("error stream – too", file=sys.stderr)
    open(argv[0], "w").write("whole")
""")


def run(text, *arguments, shell="", **variables):
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    command = ["bash", "-o", "pipefail", "-c", f'"$0" "$@" {shell}', sys.executable, "-c", text, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=120)
    return done.returncode, done.stdout.decode() + done.stderr.decode()


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["| head -1", ">&-", "2>&-", ">&- 2>&- <&-", "> /dev/full"])
def test_output_that_is_closed_broken_or_full_does_not_decide_a_command(tmp_path, shell):
    status, output = run(PRINTS, tmp_path / "result", shell=shell)
    assert status == 0, output
    assert (tmp_path / "result").read_text() == "whole"
    assert "Traceback" not in output
    assert "Exception" not in output
    lost = "warning: what was printed could not be written (No space left on device); make room, and repeat it"
    assert (lost in output) == (shell == "> /dev/full")


def test_output_that_is_ascii_shows_other_characters_as_escapes(tmp_path):
    status, output = run(PRINTS, tmp_path / "result", shell="| tail -1", PYTHONIOENCODING="ascii")
    assert status == 0, output
    assert "a line with a dash \\u2013 and more" in output


@pytest.mark.parametrize(
    ("package", "remedy"),
    [("tensorboardX", "with its extra `tensorboard`"), ("some_package", "pip install some_package")],
)
@pytest.mark.parametrize("when", ["imports", "runs"])
def test_a_package_that_is_not_installed_is_one_line(package, remedy, when):
    missing = f"sys.modules[{package!r}] = None\n"
    text = as_command(f"import {package}")
    text = text.replace(
        "import experiments\n", "import experiments\n" + missing + f"import {package}\n" * (when == "imports")
    )
    status, output = run(text)
    assert status == 2, output
    assert output.startswith(f"error: the package {package} is not installed: ")
    assert remedy in output
    assert output.count("\n") == 1


@pytest.mark.parametrize("platform", ["cuda", "nonsense"])
def test_devices_that_are_not_there_are_one_line(platform):
    status, output = run(as_command("import jax; jax.devices()"), JAX_PLATFORMS=platform)
    assert status == 2, output
    assert f"error: JAX_PLATFORMS={platform}: " in output
    assert "Traceback" not in output
