"""What the loop does and when; that stopping changes no number; that an evaluation counts every example once."""

from fractions import Fraction
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import Mesh

from resnet_jax.errors import NonFiniteError
from resnet_jax.models.resnet.blocks import BasicBlock
from resnet_jax.models.resnet.resnet import ResNet
from resnet_jax.runtime.sharding import replicated, sharded
from resnet_jax.training import loop
from resnet_jax.training.metrics import add_sums, zero_sums
from resnet_jax.training.step import eval_step


@jax.jit
def toy_step(state, sums, batch):
    """A "network" of one number, with an order-dependent state and a loss that is not exact in float32."""
    state = {"step": state["step"] + 1, "value": state["value"] * 0.9 + batch["x"]}
    bad = jnp.where(jnp.isfinite(state["value"]), zero_sums()["first_bad_step"], state["step"])
    new = zero_sums() | {"loss": state["value"], "count": jnp.float32(1), "first_bad_step": bad}
    return state, add_sums(sums, new)


def fresh_state():
    return {"step": jnp.int32(0), "value": jnp.float32(0)}


def batches_from(start: int, poisoned: int = -1):
    """Those of steps start + 1, …; the one of step `poisoned` is NaN."""
    step = start
    while True:
        step += 1
        yield {"x": np.float32(np.nan if step == poisoned else np.sin(step))}


def run(
    start=0, state=None, sums=None, total_steps=10, *, stop_at=(), poisoned=-1, **intervals
) -> tuple[Any, Any, Any]:
    """Step and state that were reached, and every event that was due: (what, step, numbers)."""
    defaults: dict[str, Any] = {"log_every": 3, "checkpoint_every": 4, "eval_every": 5}
    numbers = range(start + 1, total_steps + 1)
    steps = loop.training_steps(
        fresh_state() if state is None else state,
        zero_sums() if sums is None else sums,
        zip(numbers, batches_from(start, poisoned), strict=False),
        lambda number: toy_step,
        total_steps=total_steps,
        **(defaults | intervals),
    )
    return follow(steps, total_steps, lambda step: step in stop_at)


def follow(steps, total_steps, stop_requested) -> tuple[Any, Any, Any]:
    """Train as the runner does: log, save, evaluate, and stop when asked."""
    events = []

    def note(what, step, *trees):
        events.append((what, step.number, *(jax.device_get(tree) for tree in trees)))

    end = error = None
    try:
        for step in steps:
            if step.log:
                note("log", step, step.sums)
            if step.save:
                note("save", step, step.state, step.unlogged)
            if step.evaluate:
                note("evaluate", step, step.state)
            end = step.number, step.state
            if stop_requested(step.number) and step.number < total_steps:
                loop.check_finite(step.number, step.state, step.sums)
                note("save", step, step.state, step.unlogged)
                break
    except NonFiniteError as raised:
        end, error = None, raised
    return end, events, error


def test_a_state_of_which_only_the_optimizers_values_are_bad_is_not_saved():
    def poisoning_step(state, sums, batch):
        state, sums = toy_step({"step": state["step"], "value": state["value"]}, sums, batch)
        return {**state, "momentum": jnp.where(state["step"] == 2, jnp.nan, 0.0)}, sums

    steps = loop.training_steps(
        {**fresh_state(), "momentum": jnp.float32(0)},
        zero_sums(),
        zip(range(1, 9), batches_from(0), strict=False),
        lambda number: poisoning_step,
        total_steps=8,
        log_every=2,
        checkpoint_every=4,
        eval_every=4,
    )
    _, events, error = follow(steps, 8, lambda step: False)
    assert not events
    assert str(error).startswith("step 2: a running statistic or a value of the optimizer is not finite")


def of(calls, what):
    return [call for call in calls if call[0] == what]


def test_log_save_and_evaluation_come_when_due_and_at_the_end_in_this_order():
    (reached, state), calls, _ = run(total_steps=10)
    assert [call[:2] for call in calls] == [
        ("log", 3),
        ("save", 4),
        ("save", 5),
        ("evaluate", 5),
        ("log", 6),
        ("save", 8),
        ("log", 9),
        ("log", 10),
        ("save", 10),
        ("evaluate", 10),
    ]
    assert reached == int(state["step"]) == 10
    assert [int(call[2]["step"]) for call in [*of(calls, "save"), *of(calls, "evaluate")]] == [4, 5, 8, 10, 5, 10]


def test_a_log_holds_the_sums_since_the_last_one():
    _, calls, _ = run(total_steps=10)
    assert [float(sums["count"]) for _, _, sums in of(calls, "log")] == [3, 3, 3, 1]
    # What is saved is the unfinished interval: nothing of it is lost when the run goes on from there.
    assert [float(sums["count"]) for _, _, _, sums in of(calls, "save")] == [1, 2, 2, 0]


@given(steps=st.integers(1, 12), epochs=st.integers(1, 9), total=st.integers(1, 60))
def test_an_interval_of_a_fraction_of_steps_is_due_once_in_each(steps, epochs, total):
    every = max(Fraction(steps, epochs), Fraction(1))
    due = [step for step in range(1, total + 1) if loop.due(step, every, total + 1)]
    expected = [-(-k * every.numerator // every.denominator) for k in range(1, total + 1)]  # rounded up
    assert due == [step for step in expected if step <= total]
    assert loop.due(total, every, total)


@pytest.mark.parametrize("stop", range(1, 10))
def test_a_run_that_was_stopped_and_goes_on_logs_and_evaluates_what_the_unbroken_one_does(stop):
    (_, unbroken), calls, _ = run()
    (reached, _), before, _ = run(stop_at={stop})
    assert reached == stop
    what, step, state, sums = before[-1]
    assert (what, step) == ("save", stop)
    (_, continued), after, _ = run(stop, *jax.tree.map(jnp.asarray, (state, sums)))
    for kind in ("log", "evaluate"):
        # assert_equal goes down into the tuples and dicts, and compares floats bit by bit
        np.testing.assert_equal(of(before, kind) + of(after, kind), of(calls, kind))
    np.testing.assert_equal(jax.device_get(continued), jax.device_get(unbroken))


def test_a_stop_at_the_last_step_is_an_end():
    (reached, _), calls, _ = run(stop_at={10})
    assert reached == 10
    assert [step for _, step, *_ in of(calls, "save")] == [4, 5, 8, 10]


@pytest.mark.parametrize(
    ("first_due", "options"),
    [
        ("log", {"log_every": 6, "checkpoint_every": 50, "eval_every": 50}),
        ("checkpoint", {"log_every": 50, "checkpoint_every": 6, "eval_every": 50}),
        ("evaluation", {"log_every": 50, "checkpoint_every": 50, "eval_every": 6}),
        ("stop", {"log_every": 50, "checkpoint_every": 50, "eval_every": 50, "stop_at": {6}}),
    ],
)
def test_a_bad_step_ends_the_run_before_anything_is_saved(first_due, options):
    end, calls, error = run(total_steps=40, poisoned=5, **options)
    assert end is None
    assert "step 5:" in str(error)
    assert calls == []


def test_what_was_saved_before_a_bad_step_stays():
    _, calls, error = run(total_steps=40, poisoned=6, log_every=5, checkpoint_every=2, eval_every=50)
    assert "step 6:" in str(error)
    assert [call[:2] for call in calls] == [("save", 2), ("save", 4), ("log", 5)]


MODEL = ResNet((1,), BasicBlock, num_classes=7, width=4, stem="cifar")
IMAGES = np.random.default_rng(0).normal(size=(21, 8, 8, 3)).astype(np.float32)
LABELS = np.random.default_rng(1).integers(0, 7, 21).astype(np.int32)


def padded_batches(batch_size: int):
    """All examples in order; the last batch is filled with copies that the mask leaves out."""
    for begin in range(0, len(IMAGES), batch_size):
        rows = np.arange(begin, begin + batch_size)
        real = rows < len(IMAGES)
        rows = np.where(real, rows, 0)
        yield {"image": IMAGES[rows], "label": LABELS[rows], "mask": real.astype(np.float32)}


@pytest.fixture(scope="module")
def variables():
    variables = jax.jit(MODEL.init)(jax.random.key(0, impl="unsafe_rbg"), IMAGES[:1])
    # The head starts with logits near zero; larger ones make every rank a clear one.
    return jax.device_get(jax.tree.map(lambda leaf: leaf * 3 if leaf.ndim == 2 else leaf, variables))


@pytest.fixture(scope="module")
def one_by_one(variables):
    logits = np.concatenate([jax.jit(MODEL.apply)(variables, image[None]) for image in IMAGES])
    order = np.argsort(-logits, axis=-1)
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return {
        "count": len(IMAGES),
        "top1": sum(label == best[0] for label, best in zip(LABELS, order, strict=True)),
        "top5": sum(label in best[:5] for label, best in zip(LABELS, order, strict=True)),
        "loss": -sum(row[label] for label, row in zip(LABELS, log_p, strict=True)),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("devices", "batch_size"), [(1, 1), (1, 5), (1, 21), (1, 32), (4, 4), (4, 12), (8, 8), (8, 16), (8, 24)]
)
def test_an_evaluation_counts_each_example_once_on_any_devices_in_any_batches(
    variables, one_by_one, devices, batch_size
):
    mesh = Mesh(np.array(jax.devices()[:devices]), ("data",))
    step = jax.jit(
        partial(eval_step, apply=cast(Any, MODEL.apply)),
        in_shardings=(replicated(mesh), sharded(mesh)),
        out_shardings=replicated(mesh),
    )
    sums = jax.device_get(loop.sum_batches(padded_batches(batch_size), partial(step, variables)))
    assert 0 < one_by_one["top1"] < one_by_one["top5"] < one_by_one["count"]
    for name in ("count", "top1", "top5"):
        assert sums[name] == one_by_one[name], name
    assert sums["loss"] == pytest.approx(one_by_one["loss"], rel=1e-5)


def test_several_weights_are_evaluated_in_one_pass(variables):
    step = jax.jit(partial(eval_step, apply=cast(Any, MODEL.apply)))
    other = jax.tree.map(lambda leaf: 1.5 * leaf, variables)
    both = [partial(step, variables), partial(step, other)]
    one_pass = loop.sum_batches_each(iter(list(padded_batches(8))), both)
    for found, alone in zip(one_pass, both, strict=True):
        assert jax.device_get(found) == jax.device_get(loop.sum_batches(padded_batches(8), alone))


def test_an_evaluation_of_nothing_counts_nothing():
    assert float(loop.sum_batches([], eval_step=lambda batch: pytest.fail("called"))["count"]) == 0


def test_each_call_of_a_training_and_an_evaluation_is_a_sign_of_life(monkeypatch):
    beats: list[str] = []
    monkeypatch.setattr(loop, "beat", lambda: beats.append("beat"))
    run(total_steps=10)
    assert len(beats) == 10
    loop.sum_batches([{"x": np.float32(1)}] * 3, eval_step=lambda batch: zero_sums())
    assert len(beats) == 13
