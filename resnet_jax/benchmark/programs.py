"""Compiled programs of training and inference with their arguments on the device, ready to be timed in turn."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from resnet_jax.inference.fold_batch_norm import fold_batch_norm
from resnet_jax.models.counts import multiply_adds
from resnet_jax.run.build import Run
from resnet_jax.run.state import first_state
from resnet_jax.run.step import build_train_step, chunked_batches, several_steps
from resnet_jax.training.metrics import zero_sums

# A sample is as many calls as take this long. A GPU's are too short for a clock, and the host's wait at the end of a
# sample must be small beside it.
SAMPLE_SECONDS = 0.5

# The backward pass has two convolutions for every one of the forward pass: the gradients of its input and its kernel.
CONVOLUTIONS = {"train": 3, "infer": 1}


@dataclass(frozen=True)
class Program:
    """A compiled program.

    Attributes:
        compiled: what XLA made.
        call: calls it so often, and waits for the last.
        images: of a call, over all devices.
        steps: of a call.
        multiply_adds: of a call's convolutions and matrix products, on one device.
        dtype: of the computation.
        compile_seconds: wall time of tracing and compiling.
    """

    compiled: jax.stages.Compiled
    call: Callable[[int], None]
    images: int
    steps: int
    multiply_adds: int
    dtype: Any
    compile_seconds: float


def train_program(run: Run, *, seeds: int = 1, fixed_length: bool = False) -> Program:
    """Compile the training step of a run, on batches whose images are on the device already.

    Args:
        run: with `steps_per_call`, a chunk of so many steps is one program.
        seeds: copies of the network that are trained side by side in one program; images are counted for each.
        fixed_length: the number of steps in a chunk is a constant of the program and no argument.
    """
    state, sums = first_state(run), jax.jit(zero_sums)()
    per_call = run.config.steps_per_call
    program = build_train_step(run)
    if fixed_length:
        chunk_of_steps = several_steps(run)
        program = jax.jit(
            lambda state, sums, chunk: chunk_of_steps(state, sums, {**chunk, "steps": per_call}), donate_argnums=0
        )
    if per_call == 1:
        batches = list(islice(run.data.train.batches(0, 4), 4))
    else:
        batches = list(chunked_batches(run, [range(begin, begin + per_call) for begin in (0, per_call)]))
    if seeds > 1:
        program = jax.jit(jax.vmap(program, in_axes=(0, 0, None)), donate_argnums=0)
        state, sums = jax.tree.map(lambda leaf: jnp.stack([leaf] * seeds), (state, sums))
    compiled, seconds = compile_program(program, state, sums, batches[0])

    def call(count: int) -> None:
        nonlocal state, sums
        for number in range(count):
            state, sums = compiled(state, sums, batches[number % len(batches)])
        jax.block_until_ready(sums)

    images = run.config.batch_size * seeds * per_call
    # Of one device, as memory and peak rates are.
    work = CONVOLUTIONS["train"] * multiply_adds(run.model, run.data.image_size) * images // run.mesh.devices.size
    return Program(compiled, call, images, per_call, work, jnp.dtype(run.config.dtype), seconds)


def infer_program(model: nn.Module, image_size: int, batch_size: int, *, fold: bool = True) -> Program:
    """Compile inference on images that are on the device already; `fold` folds normalizations into convolutions."""
    images = jax.random.normal(jax.random.key(0), (batch_size, image_size, image_size, 3))
    variables: Any = jax.jit(lambda key, x: model.init(key, x))(jax.random.key(0), images[:1])

    def apply(variables: Any, images: jax.Array) -> Any:
        return model.apply(variables, images, train=False)

    if fold:
        apply, variables = fold_batch_norm(model, variables, image_size)
    compiled, seconds = compile_program(jax.jit(apply), variables, images)

    def call(count: int) -> None:
        jax.block_until_ready([compiled(variables, images) for _ in range(count)])

    work = CONVOLUTIONS["infer"] * multiply_adds(model, image_size) * batch_size
    dtype = jnp.dtype(getattr(model, "dtype", jnp.float32))
    return Program(compiled, call, batch_size, 1, work, dtype, seconds)


def compile_program(program: jax.stages.Wrapped, *arguments: Any) -> tuple[jax.stages.Compiled, float]:
    """Return the program, compiled for these arguments, and the seconds that it took."""
    began = time.perf_counter()
    compiled = program.lower(*arguments).compile()
    return compiled, round(time.perf_counter() - began, 2)


def calls_in_sample(program: Program) -> int:
    """Warm a program up; return how many calls make a sample of `SAMPLE_SECONDS`."""
    program.call(1)
    began = time.perf_counter()
    program.call(1)
    return max(1, round(SAMPLE_SECONDS / (time.perf_counter() - began)))


def time_calls(program: Program, calls: int) -> tuple[float, float]:
    """Return the wall and the CPU seconds of one of so many calls in a row."""
    began, cpu_began = time.perf_counter(), time.process_time()
    program.call(calls)
    return (time.perf_counter() - began) / calls, (time.process_time() - cpu_began) / calls


def sample_in_turn(sample: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Return `rounds` samples of each, taken in turn, so that what slows the machine for a while slows all of them."""
    found: dict[str, list[float]] = {name: [] for name in sample}
    for _ in range(rounds):
        for name, measure in sample.items():
            found[name].append(measure())
    return found
