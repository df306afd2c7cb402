"""Start-up time of a training: tracing and compiling of the first state and of the step."""

import os
import time
from collections.abc import Callable
from typing import Any

import jax

from resnet_jax.run.build import Run
from resnet_jax.run.state import first_state
from resnet_jax.run.step import build_train_step
from resnet_jax.runtime.machine import describe_machine
from resnet_jax.training.metrics import zero_sums


def measure_compile(run: Run, count: int) -> dict[str, float | None]:
    """Measure seconds of wall time, and the program's size.

    "init_seconds" is the first state, compiled and computed; "trace_seconds" and "compile_seconds" are the training
    step's, the former with the lowering; "..._cpu_seconds" are those of all cores; "step_seconds" is the fastest of
    `count` steps, "temp_mib" the memory of a step beside its arguments (None where the platform does not report it),
    "instructions" the step's lines of StableHLO.
    """
    state, init_seconds, init_cpu_seconds = _timed(lambda: jax.block_until_ready(first_state(run)))
    sums = jax.jit(zero_sums)()
    batch = next(iter(run.data.train.batches(0, 1)))
    lowered, trace_seconds, _ = _timed(lambda: build_train_step(run).trace(state, sums, batch).lower())
    compiled, compile_seconds, cpu_seconds = _timed(lowered.compile)
    memory = compiled.memory_analysis()
    seconds = []
    for _ in range(count):
        (state, sums), wall, _ = _timed(lambda now=(state, sums): jax.block_until_ready(compiled(*now, batch)))
        seconds.append(wall)
    return {
        "init_seconds": round(init_seconds, 2),
        "init_cpu_seconds": round(init_cpu_seconds, 2),
        "trace_seconds": round(trace_seconds, 2),
        "compile_seconds": round(compile_seconds, 2),
        "compile_cpu_seconds": round(cpu_seconds, 2),
        "step_seconds": round(min(seconds), 4),
        "temp_mib": round(memory.temp_size_in_bytes / 2**20, 1) if memory else None,
        "instructions": lowered.as_text().count("\n"),
    }


def machine() -> dict[str, Any]:
    """Return the machine and the versions that a measurement belongs to."""
    return {**describe_machine(), "cpu_count": os.cpu_count(), "jax": jax.__version__}


def _timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return the result of `work`, and its seconds of wall time and of all cores."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu
