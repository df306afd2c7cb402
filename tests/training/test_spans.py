"""Chunks of several steps are a function of the step, and the loop does the same as with single steps."""

from fractions import Fraction
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_jax.training import loop
from resnet_jax.training.loop import chunks, due
from resnet_jax.training.metrics import zero_sums
from tests.training.test_loop import batches_from, follow, fresh_state, toy_step

INTERVALS = st.lists(st.integers(1, 20) | st.fractions(1, 20, max_denominator=9), max_size=3).map(tuple)


@given(total=st.integers(1, 80), steps_per_call=st.integers(1, 30), intervals=INTERVALS)
def test_chunks_make_each_step_once_end_where_something_is_due_and_do_not_depend_on_the_start(
    total, steps_per_call, intervals
):
    parts = list(chunks(0, total, steps_per_call, intervals))
    assert [step for chunk in parts for step in chunk] == list(range(total))
    assert all(0 < len(chunk) <= steps_per_call for chunk in parts)
    ends = {chunk.stop for chunk in parts}
    multiples = set(range(steps_per_call, total + 1, steps_per_call))
    asked = {s for s in range(1, total + 1) if any(due(s, every, total) for every in intervals)}
    assert ends == multiples | asked | {total}
    for number, chunk in enumerate(parts):
        assert list(chunks(chunk.start, total, steps_per_call, intervals)) == parts[number:]


def test_an_epoch_that_ends_within_a_step_ends_a_chunk():
    assert list(chunks(0, 9, 4, (100, Fraction(5, 2)))) == [
        *(range(0, 3), range(3, 4), range(4, 5), range(5, 8), range(8, 9)),
    ]


INTERVALS_OF_FIT: dict[str, Any] = {"log_every": 3, "checkpoint_every": 4, "eval_every": Fraction(11, 2)}


def fit(steps_per_call, *, start=0, state=None, sums=None, poisoned=-1, stop_at=99) -> tuple[Any, Any, Any]:
    """Step and state that were reached or the error, the events, and the steps after which a stop was possible."""
    asked = []
    batches = batches_from(start, poisoned)
    parts = list(chunks(start, 14, steps_per_call, tuple(INTERVALS_OF_FIT.values())))
    chunked = ((chunk.stop, [next(batches) for _ in chunk]) for chunk in parts)

    def chunk_step(state, sums, chunk):
        for batch in chunk:
            state, sums = toy_step(state, sums, batch)
        return state, sums

    def stop_requested(step):
        asked.append(step)
        return step >= stop_at

    steps = loop.training_steps(
        fresh_state() if state is None else state,
        zero_sums() if sums is None else sums,
        cast(Any, chunked),
        lambda number: chunk_step,
        total_steps=14,
        **INTERVALS_OF_FIT,
    )
    end, events, error = follow(steps, 14, stop_requested)
    return error or end, events, asked


@pytest.mark.parametrize("steps_per_call", [2, 5, 100])
def test_the_loop_does_the_same_at_the_same_steps(steps_per_call):
    (_, expected), calls_of_one, asked_by_one = fit(1)
    (reached, state), calls, asked = fit(steps_per_call)
    assert reached == 14
    np.testing.assert_equal(calls, calls_of_one)
    np.testing.assert_equal(jax.device_get(state), jax.device_get(expected))
    assert set(asked) < set(asked_by_one)


def test_a_stop_is_heard_at_the_end_of_a_chunk_and_the_run_goes_on_as_if_nothing_had_happened():
    (_, expected), unbroken, asked = fit(5)
    assert asked == [3, 4, 5, 6, 8, 9, 10, 11, 12, 14]
    (reached, _), before, _ = fit(5, stop_at=7)
    assert reached == 8
    what, step, *saved = before[-1]
    assert (what, step) == ("save", 8)
    state, sums = jax.tree.map(jnp.asarray, saved)
    (_, continued), after, asked_after = fit(5, start=8, state=state, sums=sums)
    assert asked_after == asked[5:]
    kinds = ("log", "evaluate")
    np.testing.assert_equal([c for c in before + after if c[0] in kinds], [c for c in unbroken if c[0] in kinds])
    np.testing.assert_equal(jax.device_get(continued), jax.device_get(expected))


def test_a_bad_step_within_a_chunk_is_named():
    error, calls, _ = fit(100, poisoned=7)
    assert "step 7:" in str(error)
    assert [call[:2] for call in calls] == [("log", 3), ("save", 4), ("log", 6), ("save", 6), ("evaluate", 6)]
