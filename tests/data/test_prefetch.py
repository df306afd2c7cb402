"""Worker processes as a plain script starts them: what happens when something dies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

SHARED_MEMORY = Path("/dev/shm")
pytestmark = pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="shared memory is not a folder here")

SCRIPT = """
import os, signal, sys, threading, time
import numpy as np
from resnet_jax.data.prefetch import read_ahead
from resnet_jax.errors import InputError
from resnet_jax.runtime.watchdog import beat, watchdog


class Elements:
    def __len__(self):
        return 60

    def __getitem__(self, index):
        if ACTION == "raise" and index == 5:
            raise InputError("5.jpg: cannot be read")
        return {"image": np.zeros((100, 1000)), "worker": os.getpid()}


ACTION = sys.argv[1]
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)

if __name__ == "__main__":
    if ACTION == "signal group":  # from before the workers start
        started = threading.Event()
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)

        def send():
            while not started.wait(0.02):
                for number in SIGNALS:
                    os.killpg(0, number)

        threading.Thread(target=send).start()
    batches = read_ahead(Elements(), num_workers=2)
    workers = {next(batches)["worker"] for _ in range(2)}
    print(*workers, flush=True)
    if ACTION == "signal group":
        started.set()
    if ACTION == "stop workers":
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        with watchdog(0.02):
            for batch in batches:
                beat()
    if ACTION == "kill worker":
        os.kill(min(workers), signal.SIGKILL)
    if ACTION == "raise in main":
        raise ValueError("in the main process")
    if ACTION == "wait":
        time.sleep(60)
    if ACTION == "signal workers":
        for worker in workers:
            os.kill(worker, signal.SIGTERM)
            os.kill(worker, signal.SIGINT)
    if ACTION == "signal workers":
        kept = [next(batches) for _ in range(10)]
    else:
        for batch in batches:
            pass
"""


@pytest.fixture
def start(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}

    def run(action: str) -> subprocess.Popen:
        command = [sys.executable, "-W", "error", str(script), action]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env=environment, text=True, start_new_session=True, **pipes)

    return run


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text(encoding="utf-8")


@pytest.fixture
def segments():
    """The shared memory that this test has left; the size tells it from that of other programs."""

    def ours() -> set[Path]:
        return {path for path in SHARED_MEMORY.glob("psm_*") if path.stat().st_size == 800_000}

    before = ours()
    yield lambda: ours() - before
    for path in ours() - before:
        path.unlink()


def assert_ends(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not condition()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("action", "status", "says"),
    [
        ("all", 0, ""),
        ("signal workers", 0, ""),  # and leave before the end
        ("signal group", 0, ""),
        ("raise", 1, "InputError: 5.jpg: cannot be read"),
        ("raise in main", 1, "ValueError: in the main process"),
        ("stop workers", 70, "error: no step for"),
        ("kill worker", 1, "InputError: a data worker process died"),
    ],
)
def test_the_error_arrives_and_nothing_is_left(start, segments, action, status, says):
    process = start(action)
    out, err = process.communicate(timeout=240)
    assert process.returncode == status, err
    assert says in err
    assert "Exception ignored" not in err
    assert_ends(lambda: any(alive(int(pid)) for pid in out.split()))
    # what SIGKILL meets between creating and registering a segment, nobody can free
    if action not in ("kill worker", "stop workers"):
        assert_ends(segments)


@pytest.mark.slow
def test_workers_die_with_a_killed_parent(start, segments):
    process = start("wait")
    workers = [int(pid) for pid in process.stdout.readline().split()]
    assert all(map(alive, workers))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    assert_ends(lambda: any(map(alive, workers)))
    assert_ends(lambda: len(segments()) > len(workers))
