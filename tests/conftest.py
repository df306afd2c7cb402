"""Tests run on eight forced CPU devices, with implicit rank promotion an error, and leave no compiled programs."""

import gc
import os
import signal

# LLVM at its lowest level: XLA's own passes are those of every run, and toys compile for longer than they run. The
# commands that tests start in processes of their own compile as a user's do.
QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
# XLA ends the process when one of eight devices keeps the others waiting for 40 s, which happens on a busy machine.
PATIENT = "--xla_cpu_collective_call_terminate_timeout_seconds=300"
os.environ["XLA_FLAGS"] = " ".join(
    ["--xla_force_host_platform_device_count=8", QUICK, PATIENT, os.environ.get("XLA_FLAGS", "")]
)
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_COMPILATION_CACHE_DIR"] = ""  # for the commands that tests run, too

import jax  # noqa: E402 (reads the environment)
import pytest  # noqa: E402

from tests.compile_once import compile_once  # noqa: E402

compile_once()

jax.config.update("jax_numpy_rank_promotion", "raise")
gc.set_threshold(50_000, 20, 20)  # tracing makes so many small objects that collecting was a fifth of its time

MOST_WORKERS = 4  # each holds up to 3 GB of programs


# A shell starts its background processes with this signal ignored, and what is ignored stays ignored in theirs: the
# commands that tests interrupt would not hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="run what is marked long too, and random faults more often")


def pytest_collection_modifyitems(config, items):
    """Leave out what runs with --long alone."""
    if config.getoption("--long"):
        return
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("long")])
    items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.fixture
def long(request) -> bool:
    """Return whether random faults are repeated as often as before a release, instead of as in CI."""
    return request.config.getoption("--long")


def pytest_xdist_auto_num_workers(config):
    """One process for each core; for a single file none, because a worker takes seconds to start."""
    alone = len(config.args) == 1 and ".py" in config.args[0]
    return 0 if alone else min(os.cpu_count() or 1, MOST_WORKERS)
