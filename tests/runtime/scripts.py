"""Small programs in processes of their own, for what happens at their end."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

MOST_SECONDS = 300
ROOT = Path(__file__).parents[2]

# A program that is a command: what `python -m experiments.NAME` does before and after its imports.
COMMAND = """
import sys, time, os, signal
sys.argv[0] = "-m"
import experiments
from resnet_jax.cli import run_command
from resnet_jax.runtime.signals import check_stop, stop_requests

def main(argv):
{body}

run_command(main, sys.argv[1:])
"""


def as_command(body: str) -> str:
    return COMMAND.replace("{body}", textwrap.indent(textwrap.dedent(body), "    "))


@pytest.fixture
def script() -> Iterator:
    """Start a Python program given as text; what still runs at the test's end, or after minutes, is killed."""
    processes, timers = [], []

    def start(text: str, *arguments: object, **options: Any) -> subprocess.Popen:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
        environment |= options.pop("env", {})
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} | options
        command = [sys.executable, "-c", text, *map(str, arguments)]
        processes.append(subprocess.Popen(command, env=environment, text=True, start_new_session=True, **pipes))
        # Its workers with it: a test that reads what all of them print would never end.
        timers.append(threading.Timer(MOST_SECONDS, partial(os.killpg, processes[-1].pid, signal.SIGKILL)))
        timers[-1].start()
        return processes[-1]

    yield start
    for timer in timers:
        timer.cancel()
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(process: subprocess.Popen, text: str) -> str:
    """Read the output up to a line that holds `text`; return what was read."""
    read = ""
    assert process.stdout is not None
    for line in process.stdout:
        read += line
        if text in line:
            return read
    raise AssertionError(f"the process ended without {text!r}:\n{read}")
