"""Commands as a user runs them, each in a process of its own on one CPU device."""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from resnet_jax.run.train import train
from tests.faults.processes import TOY
from tests.faults.toy import config, photographs

ROOT = Path(__file__).parents[2]


# One device, and a home of its own for compiled programs, as a user has: only the first of many processes compiles.
PROGRAMS = TemporaryDirectory(prefix="resnet_jax-tests-")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
ENVIRONMENT |= {"XLA_FLAGS": "", "XDG_CACHE_HOME": PROGRAMS.name}


def start_command(name, *arguments, **variables) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", f"experiments.{name}", *map(str, arguments)],
        cwd=ROOT,
        env=ENVIRONMENT | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def start():
    """Start `python -m experiments.NAME ARGUMENTS…`; whatever still runs at the test's end is killed."""
    processes = []

    def start_until_the_end(name, *arguments, **variables):
        processes.append(start_command(name, *arguments, **variables))
        return processes[-1]

    yield start_until_the_end
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture
def command(start):
    """Run a command to its end: (exit status, what it printed)."""

    def run_command(name, *arguments, **variables):
        process = start(name, *arguments, **variables)
        output, _ = process.communicate(timeout=300)
        return process.returncode, output

    return run_command


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory) -> Path:
    """The folder of a run of the quickstart that nothing disturbed."""
    workdir = tmp_path_factory.mktemp("unbroken")
    process = start_command("quickstart", f"--workdir={workdir}", *TOY)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return workdir


@pytest.fixture(scope="session")
def original(tmp_path_factory) -> Path:
    """A folder with photographs/ and run/, whose training ended just before it wrote its result."""
    home = tmp_path_factory.mktemp("original")
    photographs(home)
    train(config(home))
    (home / "run" / "result.json").rename(home / "result.json")
    return home
