"""Throughput of training and inference: images a second, memory, and the share of the device's peak."""

import time
from collections.abc import Callable
from itertools import islice
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from resnet_jax.benchmark.roofline import measure_roofline, roofline_share
from resnet_jax.inference.fold_batch_norm import fold_batch_norm
from resnet_jax.models.counts import multiply_adds
from resnet_jax.run.build import Run
from resnet_jax.run.state import first_state
from resnet_jax.run.step import build_train_step, chunked_batches
from resnet_jax.training.metrics import zero_sums

SAMPLE_SECONDS = 0.1  # a sample is as many steps as take this long: a GPU's are too short for a clock
PROFILED_STEPS = 5

# The backward pass has two convolutions for every one of the forward pass: the gradients of its input and its kernel.
CONVOLUTIONS = {"train": 3, "infer": 1}


def measure_train(run: Run, rounds: int, *, seeds: int = 1, profile: str = "") -> dict[str, Any]:
    """Measure the training step of a run, on batches whose images are on the device already; see `_measured`.

    With `steps_per_call`, a chunk of so many steps is one program. With `seeds`, so many networks are trained side by
    side in one program; images are counted for each.
    """
    state, sums = first_state(run), jax.jit(zero_sums)()
    per_call = run.config.steps_per_call
    program = build_train_step(run)
    if per_call == 1:
        batches = list(islice(run.data.train.batches(0, 4), 4))
    else:
        batches = list(chunked_batches(run, [range(begin, begin + per_call) for begin in (0, per_call)]))
    if seeds > 1:
        program = jax.jit(jax.vmap(program, in_axes=(0, 0, None)), donate_argnums=0)
        state, sums = jax.tree.map(lambda leaf: jnp.stack([leaf] * seeds), (state, sums))
    compiled, seconds = _compiled(program, state, sums, batches[0])

    def steps(count: int) -> None:
        nonlocal state, sums
        for number in range(count):
            state, sums = compiled(state, sums, batches[number % len(batches)])
        jax.block_until_ready(sums)

    images = run.config.batch_size * seeds * per_call
    # Of one device, as memory and peak rates are.
    work = CONVOLUTIONS["train"] * multiply_adds(run.model, run.data.image_size) * images // run.mesh.devices.size
    found = _measured(compiled, steps, rounds, images, work, jnp.dtype(run.config.dtype), profile, per_call)
    return {"compile_seconds": seconds, **found}


def measure_infer(
    model: nn.Module, image_size: int, batch_size: int, rounds: int, *, fold: bool = True, profile: str = ""
) -> dict[str, Any]:
    """Measure inference on images that are on the device already; see `_measured`. `fold` folds normalizations."""
    images = jax.random.normal(jax.random.key(0), (batch_size, image_size, image_size, 3))
    variables: Any = jax.jit(lambda key, x: model.init(key, x))(jax.random.key(0), images[:1])

    def apply(variables: Any, images: jax.Array) -> Any:
        return model.apply(variables, images, train=False)

    if fold:
        apply, variables = fold_batch_norm(model, variables, image_size)
    compiled, seconds = _compiled(jax.jit(apply), variables, images)

    def steps(count: int) -> None:
        jax.block_until_ready([compiled(variables, images) for _ in range(count)])

    work = CONVOLUTIONS["infer"] * multiply_adds(model, image_size) * batch_size
    dtype = jnp.dtype(getattr(model, "dtype", jnp.float32))
    return {"compile_seconds": seconds, **_measured(compiled, steps, rounds, batch_size, work, dtype, profile)}


def _compiled(program: jax.stages.Wrapped, *arguments: Any) -> tuple[jax.stages.Compiled, float]:
    began = time.perf_counter()
    compiled = program.lower(*arguments).compile()
    return compiled, round(time.perf_counter() - began, 2)


def _measured(
    compiled: jax.stages.Compiled,
    steps: Callable[[int], None],
    rounds: int,
    images: int,
    multiply_adds: int,
    dtype: Any,
    profile: str,
    steps_per_call: int = 1,
) -> dict[str, Any]:
    """Return medians over `rounds` samples, after a warm-up, and the range of the samples.

    Args:
        compiled: the program of a chunk of steps.
        steps: runs so many chunks and waits for the last.
        rounds: samples.
        images: of a chunk.
        multiply_adds: of a chunk's convolutions and matrix products.
        dtype: of the computation.
        profile: folder for a trace of some more chunks, which are not timed; empty for none.
        steps_per_call: steps of a chunk.
    """
    steps(1)
    began = time.perf_counter()
    steps(1)
    once = time.perf_counter() - began
    count = max(1, round(SAMPLE_SECONDS / once))
    wall, cpu = [], []
    for _ in range(rounds):
        began, cpu_began = time.perf_counter(), time.process_time()
        steps(count)
        wall.append((time.perf_counter() - began) / count)
        cpu.append((time.process_time() - cpu_began) / count)
    seconds, of_step = median(wall), 1e3 / steps_per_call
    if profile:
        with jax.profiler.trace(profile):
            steps(PROFILED_STEPS)
    roofline = measure_roofline(dtype)
    # XLA counts what stands in a loop once.
    work = {"multiply_adds": multiply_adds, "bytes": steps_per_call * _bytes(compiled)}
    return {
        "images_per_second": round(images / seconds, 2),
        "milliseconds_per_step": round(of_step * seconds, 3),
        "milliseconds_range": [round(of_step * min(wall), 3), round(of_step * max(wall), 3)],
        "cpu_milliseconds_per_step": round(of_step * median(cpu), 3),
        "giga_multiply_adds_per_second": round(multiply_adds / seconds / 1e9, 1),
        "program_mib": _program_mib(compiled),
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
