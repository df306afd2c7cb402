"""Throughput of a program: images a second, memory, and the share of the device's peak."""

from functools import cache
from statistics import median
from typing import Any

import jax

from resnet_jax.benchmark.programs import Program, calls_in_sample, time_calls
from resnet_jax.benchmark.roofline import measure_roofline, roofline_share

PROFILED_CALLS = 5

_roofline = cache(measure_roofline)


def measure_throughput(program: Program, rounds: int, profile: str = "") -> dict[str, Any]:
    """Return medians over `rounds` samples, after a warm-up, and the range of the samples.

    Args:
        program: what is measured.
        rounds: samples.
        profile: folder for a trace of some more calls, which are not timed; empty for none.
    """
    calls = calls_in_sample(program)
    wall, cpu = zip(*(time_calls(program, calls) for _ in range(rounds)), strict=True)
    seconds, of_step = median(wall), 1e3 / program.steps
    if profile:
        with jax.profiler.trace(profile):
            program.call(PROFILED_CALLS)
    roofline = _roofline(program.dtype)
    # XLA counts what stands in a loop once.
    work = {"multiply_adds": program.multiply_adds, "bytes": program.steps * _bytes(program.compiled)}
    return {
        "compile_seconds": program.compile_seconds,
        "images_per_second": round(program.images / seconds, 2),
        "milliseconds_per_step": round(of_step * seconds, 3),
        "milliseconds_range": [round(of_step * min(wall), 3), round(of_step * max(wall), 3)],
        "cpu_milliseconds_per_step": round(of_step * median(cpu), 3),
        "giga_multiply_adds_per_second": round(program.multiply_adds / seconds / 1e9, 1),
        "program_mib": _program_mib(program.compiled),
        "peak_memory_mib": _peak_mib(),
        "roofline": roofline,
        "share": roofline_share(roofline, seconds, work),
    }


def _bytes(compiled: jax.stages.Compiled) -> float:
    analysis: Any = compiled.cost_analysis()
    analysis = analysis[0] if isinstance(analysis, list) else analysis or {}
    return analysis.get("bytes accessed", 0.0)


def _program_mib(compiled: jax.stages.Compiled) -> float | None:
    """Return the memory of arguments, results and temporaries; None where the platform does not report it."""
    memory = compiled.memory_analysis()
    if memory is None:
        return None
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return round((held + memory.temp_size_in_bytes) / 2**20, 1)


def _peak_mib() -> float | None:
    """Return the device's peak memory; None where it does not report it (CPUs)."""
    stats = jax.devices()[0].memory_stats() or {}
    return round(stats["peak_bytes_in_use"] / 2**20, 1) if "peak_bytes_in_use" in stats else None
