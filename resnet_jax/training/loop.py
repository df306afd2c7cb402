"""The training loop as a generator, and exact evaluation: both know no config, network or data set."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import jax

from resnet_jax.errors import NonFiniteError
from resnet_jax.runtime.batch import Batch
from resnet_jax.runtime.watchdog import beat
from resnet_jax.training.metrics import NO_STEP, Sums, add_sums, all_finite, zero_sums, zeros_like_sums

# Device calls that may be under way before the host waits for the oldest: enough to hide the host's work behind the
# device's, few enough that batches do not pile up in memory and a signal to stop is heard at once.
IN_FLIGHT = 2

_add_sums = jax.jit(add_sums)
_all_finite = jax.jit(all_finite)

Interval = int | Fraction  # in steps; an epoch is seldom a whole number of them


def due(step: int, every: Interval, total_steps: int) -> bool:
    """Return whether something done every `every` steps, and at the end, is due after this step.

    It is due at the first step that reaches a multiple of `every`: an epoch's end within a step is that step.
    """
    return step // every > (step - 1) // every or step == total_steps


def chunks(start: int, total_steps: int, steps_per_call: int, intervals: Sequence[Interval]) -> Iterator[range]:
    """Yield the steps of each device call, counted from 0: `range(5, 8)` are the sixth, seventh and eighth.

    A chunk ends at every multiple of `steps_per_call`, where something is due, and at the end. That is a function of
    the step alone: a run that continues from the end of another's chunk has the same chunks.

    Args:
        start: steps done.
        total_steps: where the training ends.
        steps_per_call: the most steps of a chunk.
        intervals: between the steps after which something is due.
    """
    begin = start
    for step in range(start + 1, total_steps + 1):
        ends = step % steps_per_call == 0 or step == total_steps
        if ends or any(due(step, every, total_steps) for every in intervals):
            yield range(begin, step)
            begin = step


@dataclass(frozen=True)
class Step:
    """The training after a device call.

    Attributes:
        number: steps done.
        state: the train state; the next device call donates it.
        sums: metric sums since the last log line.
        unlogged: sums that no log line holds, which a checkpoint must: zero where one is written after this step.
        log: a log line is due.
        save: a checkpoint is due; every evaluated step is saved too, so that the best that was measured can be kept.
        evaluate: an evaluation is due.
    """

    number: int
    state: Any
    sums: Sums
    unlogged: Sums
    log: bool
    save: bool
    evaluate: bool


def training_steps(
    state: Any,
    sums: Sums,
    batches: Iterable[tuple[int, Batch]],
    step_at: Callable[[int], Callable[[Any, Sums, Batch], tuple[Any, Sums]]],
    *,
    total_steps: int,
    log_every: int,
    checkpoint_every: Interval,
    eval_every: Interval,
) -> Iterator[Step]:
    """Yield the training after every device call.

    A stopped run is continued with the state and the unlogged sums that were saved: its log then equals the unbroken
    run's.

    Args:
        state: the train state; the step donates it.
        sums: metric sums since the last log line.
        batches: (steps done after it, batch) for every device call.
        step_at: from the number of a step, counted from 1, to its program, which adds a call's sums to the given ones
            and must not donate them.
        total_steps: the last step, at which everything is due.
        log_every: steps between log lines; the next two count steps too.
        checkpoint_every: between checkpoints.
        eval_every: between evaluations.

    Raises:
        NonFiniteError: a step was not finite; before anything is due, so that nothing of it is logged or saved.
    """
    no_sums = jax.jit(zeros_like_sums, out_shardings=jax.tree.map(lambda leaf: leaf.sharding, sums))
    in_flight: deque[Any] = deque()
    for number, batch in batches:
        state, sums = step_at(number)(state, sums, batch)
        log = due(number, log_every, total_steps)
        evaluate = due(number, eval_every, total_steps)
        save = evaluate or due(number, checkpoint_every, total_steps)
        if log or save:
            check_finite(number, state, sums)
        unlogged = no_sums(sums) if log else sums
        yield Step(number, state, sums, unlogged, log, save, evaluate)
        in_flight.append(sums["count"])
        sums = unlogged
        if len(in_flight) > IN_FLIGHT:
            in_flight.popleft().block_until_ready()
        beat()


def check_finite(number: int, state: Any, sums: Sums) -> None:
    """Refuse the state after step `number`, or sums that report a step before, if not all is finite.

    Raises:
        NonFiniteError: the first such step, by its number; of a state in which only statistics or the optimizer's
            values are not finite, `number`.
    """
    step = int(sums["first_bad_step"])
    what = "the loss or a new parameter"
    if step == NO_STEP and not _all_finite(state):
        step, what = number, "a running statistic or a value of the optimizer"
    if step != NO_STEP:
        raise NonFiniteError(
            f"step {step}: {what} is not finite; nothing of it was saved. "
            "Lower --learning_rate, lengthen --warmup_fraction, or look at that step's images"
        )


def sum_batches(batches: Iterable[Batch], eval_step: Callable[[Batch], Sums]) -> Sums:
    """Return the sums over all batches: every example that the masks admit is counted exactly once."""
    (total,) = sum_batches_each(batches, [eval_step])
    return total


def sum_batches_each(batches: Iterable[Batch], eval_steps: Sequence[Callable[[Batch], Sums]]) -> list[Sums]:
    """Return what `sum_batches` does for each of several sets of weights, from one pass over the batches."""
    totals: list[Sums] = []
    for batch in batches:
        sums = [eval_step(batch) for eval_step in eval_steps]
        before = totals
        totals = list(map(_add_sums, totals, sums)) if totals else sums
        # Of the batch before: while the device computes one, the next is fetched and dispatched.
        jax.block_until_ready([total["count"] for total in before])
        beat()
    return totals or [zero_sums() for _ in eval_steps]
