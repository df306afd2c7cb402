"""Tests run on eight forced CPU devices, with implicit rank promotion an error, and share what they compile.

A program that one test has compiled is read by the others, by the other processes of pytest-xdist and by the commands
that tests start, from a folder that lives as long as the test run.
"""

import gc
import os
import shutil
import tempfile

# LLVM at its lowest level: XLA's own passes are those of every run, and toys compile for longer than they run. The
# commands that tests start in processes of their own compile as a user's do.
QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
# XLA ends the process when one of eight devices keeps the others waiting for 40 s, which happens on a busy machine.
PATIENT = "--xla_cpu_collective_call_terminate_timeout_seconds=300"
os.environ["XLA_FLAGS"] = " ".join(
    ["--xla_force_host_platform_device_count=8", QUICK, PATIENT, os.environ.get("XLA_FLAGS", "")]
)
os.environ["JAX_PLATFORMS"] = "cpu"
IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
if not IS_WORKER:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="resnet_jax-tests-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.05"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import jax  # noqa: E402 (reads the environment)

jax.config.update("jax_numpy_rank_promotion", "raise")
gc.set_threshold(50_000, 20, 20)  # tracing makes so many small objects that collecting was a fifth of its time

MOST_WORKERS = 4  # each holds up to 3 GB of programs


def pytest_xdist_auto_num_workers(config):
    """One process for each core; for a single file none, because a worker takes seconds to start."""
    alone = len(config.args) == 1 and ".py" in config.args[0]
    return 0 if alone else min(os.cpu_count() or 1, MOST_WORKERS)


def pytest_unconfigure():
    if not IS_WORKER:
        shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
