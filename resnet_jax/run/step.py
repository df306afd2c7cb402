"""The compiled training step of a run: one step in a device call, or a chunk of several.

For sets that live on the devices a step needs the indices of its examples alone, and those of many steps travel at
once. The host's work for a step (some tenths of a millisecond), and the launch of its many arrays, are then done once a
chunk.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax

from resnet_jax.config.options import Config
from resnet_jax.data.loader import stacked_batches
from resnet_jax.layers.frozen_statistics import WithFrozenStatistics
from resnet_jax.optim.freeze import frozen_by
from resnet_jax.run.build import Run
from resnet_jax.run.state import state_sharding
from resnet_jax.run.without_encoder import without_encoder
from resnet_jax.runtime.batch import Batch, batch_of_stack
from resnet_jax.runtime.sharding import replicated
from resnet_jax.training.kept_statistics import kept_statistics
from resnet_jax.training.loop import Interval, chunks
from resnet_jax.training.metrics import Sums, add_sums
from resnet_jax.training.state import TrainState
from resnet_jax.training.step import train_step

StepFunction = Callable[[TrainState, Sums, Batch], tuple[TrainState, Sums]]


def single_step(run: Run, *, thawed: bool = False) -> StepFunction:
    """Return one step, uncompiled: (state, sums so far, batch) -> the next of both.

    Args:
        run: the run.
        thawed: what --freeze names learns too.
    """
    config = run.config
    model: Any = run.model
    frozen = "" if thawed else config.freeze
    is_frozen = frozen_by(frozen) if frozen else None
    has_decoder = hasattr(model, "backbone")
    keeps_statistics = kept_statistics(frozen, of_weights=config.freeze_statistics, has_decoder=has_decoder)
    if config.cache_features:
        model = without_encoder(run)
    if keeps_statistics is not None:
        model = WithFrozenStatistics(model, keeps_statistics)

    def step(state: TrainState, sums: Sums, batch: Batch) -> tuple[TrainState, Sums]:
        state, new = train_step(
            state,
            run.data.train.prepare(batch, state.step),
            model=model,
            tx=run.optimizer.tx,
            key=jax.random.wrap_key_data(batch["key"]),
            loss=run.loss,
            sums_of=run.task.train_sums,
            aux_weight=getattr(run.model, "aux_weight", 0.0),
            micro_batches=config.accumulate,
            group_size=max(1, config.bn_group_size),
            ema=run.optimizer.ema,
            fsdp_mesh=run.mesh if config.fsdp else None,
            is_frozen=is_frozen,
        )
        return state, add_sums(sums, new)

    return step


def several_steps(run: Run, *, thawed: bool = False) -> StepFunction:
    """Return a chunk of steps, uncompiled: (state, sums so far, batch of `chunked_batches`) -> the next of both."""
    step = single_step(run, thawed=thawed)

    def chunk_of_steps(state: TrainState, sums: Sums, chunk: Batch) -> tuple[TrainState, Sums]:
        def body(number: jax.Array, carry: tuple[TrainState, Sums]) -> tuple[TrainState, Sums]:
            return step(*carry, batch_of_stack(chunk, number))

        return jax.lax.fori_loop(0, chunk["steps"], body, (state, sums))

    return chunk_of_steps


def build_train_steps(run: Run) -> Callable[[int], jax.stages.Wrapped]:
    """Return the function from a step's number, counted from 1, to its program: with --unfreeze_at there are two."""
    first, thaw = build_train_step(run), run.thaw_step
    if not thaw:
        return lambda number: first
    second = build_train_step(run, thawed=True)
    return lambda number: first if number <= thaw else second


def build_train_step(run: Run, *, thawed: bool = False) -> jax.stages.Wrapped:
    """Return the step of a device call: (state, sums so far, batch) -> the next of both; the state is donated.

    It is compiled at its first call.
    With --steps_per_call, a batch is a chunk of `chunked_batches`. There is one program, and how many steps it makes is
    an argument: chunks that end early for a log line or an evaluation have many lengths.

    Args:
        run: the run.
        thawed: what --freeze names learns too.
    """
    build = single_step if run.config.steps_per_call == 1 else several_steps
    function = build(run, thawed=thawed)
    shardings = (state_sharding(run), replicated(run.mesh))
    return jax.jit(function, donate_argnums=0, out_shardings=shardings, compiler_options=compiler_options(run.config))


def compiler_options(config: Config) -> dict[str, Any]:
    """Return what XLA is told of the programs of a run."""
    return {"xla_gpu_deterministic_ops": True} if config.deterministic else {}


def step_batches(run: Run, start: int) -> Iterator[tuple[int, Batch]]:
    """Yield (steps done after it, batch) for every device call from step `start` to the end of the training."""
    config = run.config
    if config.steps_per_call == 1:
        yield from enumerate(run.data.train.batches(start, run.total_steps), start + 1)
        return
    step = start
    for chunk in chunked_batches(run, chunks(start, run.total_steps, config.steps_per_call, chunk_intervals(run))):
        step += chunk["steps"]
        yield step, chunk


def longest_chunk(run: Run) -> int:
    """Return the most steps of a device call: `--steps_per_call`, or fewer where something is due more often."""
    return min(run.config.steps_per_call, *(math.ceil(every) for every in chunk_intervals(run)))


def chunk_intervals(run: Run) -> tuple[Interval, ...]:
    """Return the intervals, in steps, at whose multiples a chunk ends: something is due, or another program follows."""
    return (run.config.log_every, run.checkpoint_every, run.eval_every, run.thaw_step or run.total_steps)


def chunked_batches(run: Run, chunks: Iterable[range]) -> Iterator[Batch]:
    """Yield, for each chunk of steps, the batch that `build_train_step` takes.

    Args:
        run: with a training set that lives on the devices.
        chunks: consecutive steps, from 0; at most `longest_chunk` each.

    Yields:
        {"steps": how many, "requests": a dict of arrays [longest_chunk,B] whose rows are the steps' requests, and
        the arrays that all steps share}.
    """
    length, requests = longest_chunk(run), run.data.train.requests
    assert requests is not None, "build_run refuses others"
    parts = (requests(chunk.start, chunk.stop) for chunk in chunks)
    yield from stacked_batches(parts, length, run.data.train.held, run.mesh)
