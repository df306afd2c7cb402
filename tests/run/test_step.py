"""Several steps in one device call: the numbers of one step a call, on eight forced devices."""

import json
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from resnet_jax.errors import InputError, InterruptedRunError
from resnet_jax.run import step as step_module
from resnet_jax.run.build import build_run
from resnet_jax.run.state import first_state
from resnet_jax.run.step import build_train_step, chunked_batches
from resnet_jax.run.train import train
from resnet_jax.runtime.sharding import replicated
from resnet_jax.training.metrics import zero_sums
from tests.faults.processes import metrics
from tests.run.test_ingredients import interrupt_at
from tests.run.test_train import TOY

# Of 12 steps, with a log line every 5 and an evaluation every 8, calls end after 4, 5, 8, 10 and 12.
FOUR = replace(TOY, steps_per_call=4, flip="random")
SPANS = [range(0, 4), range(4, 5), range(5, 8)]


@pytest.fixture(scope="module")
def run():
    return build_run(FOUR)


def singly(run):
    return replace(run, config=replace(run.config, steps_per_call=1))


def made(run, program, fed) -> tuple[Any, Any]:
    """State and sums after all that is fed."""
    state, sums = first_state(run), jax.jit(zero_sums, out_shardings=replicated(run.mesh))()
    for one in fed:
        state, sums = program(state, sums, one)
    return jax.device_get((state, sums))


def test_a_call_is_fed_what_its_steps_are_fed_one_by_one(run):
    calls = list(chunked_batches(run, SPANS))
    assert [call["steps"] for call in calls] == [4, 1, 3]
    batches = list(run.data.train.batches(0, 8))
    for span, call in zip(SPANS, calls, strict=True):
        assert call["pool"] is batches[0]["pool"]
        for name, rows in call["requests"].items():
            assert rows.shape == (4, TOY.batch_size)
            assert rows.sharding.shard_shape(rows.shape) == (4, TOY.batch_size // 8)
            for row, number in zip(rows, span, strict=False):
                np.testing.assert_array_equal(row, batches[number]["request"][name])
            assert not np.any(rows[len(span) :])


@pytest.mark.slow
def test_a_call_gives_the_bits_of_its_steps_from_one_program(run):
    single = made(run, build_train_step(singly(run)), run.data.train.batches(0, 8))
    program: Any = build_train_step(run)
    jax.tree.map(np.testing.assert_array_equal, made(run, program, chunked_batches(run, SPANS)), single)
    assert program._cache_size() == 1


@pytest.mark.slow
def test_the_first_bad_step_of_a_call_is_named(run):
    tx = optax.sgd(lambda count: jnp.where(count == 6, jnp.nan, 0.01))
    failing = replace(run, optimizer=replace(run.optimizer, tx=tx))
    state, sums = made(failing, build_train_step(failing), chunked_batches(failing, SPANS))
    assert sums["first_bad_step"] == 7
    assert state.step == 8


@pytest.mark.slow
def test_a_run_that_is_interrupted_between_two_calls_ends_as_the_unbroken_one(tmp_path, monkeypatch):
    programs: list[Any] = []

    def kept(run):
        programs.append(build_train_step(run))
        return programs[-1]

    monkeypatch.setattr(step_module, "build_train_step", kept)
    whole = train(replace(FOUR, workdir=str(tmp_path / "whole")))
    assert [program._cache_size() for program in programs] == [1]
    assert [(row["step"], row["split"]) for row in metrics(tmp_path / "whole")] == [
        *((5, "train"), (8, "eval"), (10, "train"), (12, "train"), (12, "eval")),
    ]
    halves = replace(FOUR, workdir=str(tmp_path / "halves"))
    with monkeypatch.context() as patched:
        interrupt_at(patched, 5)  # where the log ends a call of four
        with pytest.raises(InterruptedRunError, match="after step 5"):
            train(halves)
    continued = train(halves)
    assert continued["fingerprint"] == whole["fingerprint"]
    assert metrics(tmp_path / "halves") == metrics(tmp_path / "whole")
    assert json.loads((tmp_path / "halves" / "result.json").read_text())["step"] == 12


def test_images_that_are_fed_batch_by_batch_are_refused(tmp_path):
    for wrong in (replace(FOUR, auto_augment="ta_wide"), replace(FOUR, progressive="6:8")):
        with pytest.raises(InputError, match=r"--steps_per_call=4 needs images that the devices hold.* take"):
            train(replace(wrong, workdir=str(tmp_path)))
    with pytest.raises(InputError, match="--steps_per_call=0 must be at least 1"):
        train(replace(FOUR, steps_per_call=0, workdir=str(tmp_path)))
    assert not (tmp_path / "config.json").exists()
