"""The training loop and exact evaluation: both take functions and iterators, and know no config, network or data."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import jax

from resnet_jax.errors import NonFiniteError
from resnet_jax.runtime.batch import Batch
from resnet_jax.training.metrics import NO_STEP, Sums, add_sums, zero_sums

# Calls given to the device before the host waits for the oldest: enough to hide the host's work behind the device's,
# few enough that batches do not pile up in memory and that a signal to stop is heard at once.
IN_FLIGHT = 2

_add_sums = jax.jit(add_sums)


def check_finite(sums: Sums) -> None:
    """Raise a NonFiniteError that names the first bad step, if the sums report one."""
    step = int(sums["first_bad_step"])
    if step != NO_STEP:
        raise NonFiniteError(
            f"step {step}: the loss, a gradient or the new state is not finite; nothing of it was saved. "
            "Lower --learning_rate, lengthen --warmup_fraction, or look at that step's images"
        )


Interval = int | Fraction  # in steps; an epoch is seldom a whole number of them


def due(step: int, every: Interval, total_steps: int) -> bool:
    """Whether something done every `every` steps, and at the end, is done after this step.

    It is due at the first step that reaches a multiple of `every`: an epoch's end within the step is that step.
    """
    return step // every > (step - 1) // every or step == total_steps


def spans(start: int, total_steps: int, steps_per_call: int, intervals: Sequence[Interval]) -> Iterator[range]:
    """The steps of each device call, counted from 0: `range(5, 8)` are the sixth, seventh and eighth.

    A call ends at every multiple of `steps_per_call` and where something is due. That is a function of the step alone:
    a run that goes on from where another's call ended makes the same calls.

    Args:
        start: steps done.
        total_steps: where the training ends.
        steps_per_call: the most steps of a call.
        intervals: between the steps after which something is due.
    """
    begin = start
    for step in range(start + 1, total_steps + 1):
        if step % steps_per_call == 0 or any(due(step, every, total_steps) for every in intervals):
            yield range(begin, step)
            begin = step


def fit(
    state: Any,
    sums: Sums,
    batches: Iterator[Batch],
    *,
    start: int,
    total_steps: int,
    train_step: Callable[[Any, Sums, Batch], tuple[Any, Sums]],
    log_every: int,
    checkpoint_every: Interval,
    eval_every: Interval,
    log: Callable[[int, Sums], None],
    save: Callable[[int, Any, Sums], None],
    evaluate: Callable[[int, Any], None],
    stop_requested: Callable[[int], bool],
    progress: Callable[[int, Any], None] = lambda step, output: None,
    steps_per_call: int = 1,
) -> tuple[int, Any]:
    """Train from step `start` to `total_steps`; returns the step reached and the state.

    After each call, which is a step or several, in this order and where due: the log, the checkpoint, the evaluation,
    the question whether to stop. A run that was stopped is continued by calling again with what was saved: the sums of
    the unfinished log interval are part of it, so that the log of a continued run equals the unbroken one's.

    Args:
        state: the train state; it is donated to `train_step`.
        sums: metric sums since the last log.
        batches: those of steps `start + 1` … `total_steps`; with several steps a call, what each of its `spans` is fed.
        start: steps done.
        total_steps: where the training ends.
        train_step: adds a call's sums to the given ones, which it must not donate.
        log_every: in steps, as the next two; all three also happen at the end.
        checkpoint_every: see above; every evaluated step is saved besides.
        eval_every: see above.
        log: gets the step and the sums since the last log.
        save: gets the step, the state and the sums.
        evaluate: gets the step and the state.
        stop_requested: asked after every call; when true, the state is saved and the loop left.
        progress: told the last step of each call that has been given to the device, and an array that it computes.
        steps_per_call: the most steps that are given to the device at once.

    Raises:
        NonFiniteError: at the next log or checkpoint after a step that was not finite, before anything is saved.
    """
    fresh_sums = jax.jit(zero_sums, out_shardings=jax.tree.map(lambda leaf: leaf.sharding, sums))
    in_flight: deque[Any] = deque()
    intervals = (log_every, checkpoint_every, eval_every)
    for step in (span.stop for span in spans(start, total_steps, steps_per_call, intervals)):
        state, sums = train_step(state, sums, next(batches))
        in_flight.append(sums["count"])
        if len(in_flight) > IN_FLIGHT:
            in_flight.popleft().block_until_ready()
        progress(step, sums["count"])
        if due(step, log_every, total_steps):
            sums = jax.block_until_ready(sums)
            check_finite(sums)
            log(step, sums)
            sums = fresh_sums()
            in_flight.clear()
        # What is evaluated is saved, so that the best that was measured can be kept.
        if due(step, checkpoint_every, total_steps) or due(step, eval_every, total_steps):
            check_finite(sums)
            save(step, state, sums)
        if due(step, eval_every, total_steps):
            check_finite(sums)
            evaluate(step, state)
        if stop_requested(step) and step < total_steps:
            check_finite(sums)
            save(step, state, sums)
            return step, state
    return total_steps, state


def evaluate(batches: Iterable[Batch], eval_step: Callable[[Batch], Sums]) -> Sums:
    """The sums over all batches: every example that the masks admit is counted exactly once."""
    total = None
    for batch in batches:
        sums = eval_step(batch)
        total = sums if total is None else _add_sums(total, sums)
        jax.block_until_ready(total["count"])
    return zero_sums() if total is None else total
