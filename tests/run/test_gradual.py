"""Runs in which something changes on the way: parts that begin to learn, rates that fall on plateaus, early ends."""

import json
from dataclasses import replace
from typing import Any

import pytest

from resnet_jax.config.options import Config
from resnet_jax.errors import InputError, InterruptedRunError
from resnet_jax.run.patience import out_of_patience
from resnet_jax.run.train import train
from resnet_jax.workdir.metrics_log import read_rows
from tests.run.test_ingredients import interrupt_at
from tests.run.test_initial import leaves, moved
from tests.run.test_train import TOY

# 1437 training images: 22.45 steps of 64 an epoch, so that the frozen part begins to learn after step 4.
GRADUAL = replace(TOY, freeze="stem..stage3", unfreeze_at=4 * 64 / 1437, steps=8, eval_every=4, checkpoint_every=2)


@pytest.fixture(scope="module")
def gradual(weights, tmp_path_factory) -> Any:
    """(The config of an unbroken run, its result)."""
    config = replace(GRADUAL, init_from=weights, workdir=str(tmp_path_factory.mktemp("gradual")))
    return config, train(config)


def interrupted(config: Config, at: int, monkeypatch) -> None:
    with monkeypatch.context() as patched:
        interrupt_at(patched, at)
        with pytest.raises(InterruptedRunError):
            train(config)


@pytest.mark.slow
@pytest.mark.parametrize("at", [3, 4, 5])
def test_a_run_that_is_interrupted_in_either_phase_ends_as_the_unbroken_one(
    at, gradual, weights, tmp_path, monkeypatch
):
    config, whole = gradual
    halves = replace(config, workdir=str(tmp_path))
    interrupted(halves, at, monkeypatch)
    learned = moved(leaves(weights), leaves(tmp_path))
    if at <= 4:
        assert learned == {"params/head/kernel", "params/head/bias"}
    else:
        assert {"params/stem_conv/kernel", "batch_stats/stem_norm/mean"} <= learned
    assert train(halves)["fingerprint"] == whole["fingerprint"]


@pytest.mark.slow
def test_a_plateau_lowers_the_rate_in_the_log_and_is_continued(tmp_path, monkeypatch):
    # Without a rate the loss of a batch is random, and of six epochs of one step some are not better.
    config = replace(TOY, schedule="plateau", plateau_patience=1, batch_size=1436, learning_rate=1e-4, log_every=1)
    config = replace(config, batch_size=1432, steps=6, eval_every=6)
    whole = train(replace(config, workdir=str(tmp_path / "whole")))
    found = [row["learning_rate"] for row in read_rows(tmp_path / "whole" / "metrics.jsonl") if row["split"] == "train"]
    assert found == sorted(found, reverse=True)
    assert found[-1] < found[0]
    halves = replace(config, workdir=str(tmp_path / "halves"))
    interrupted(halves, 3, monkeypatch)
    assert train(halves)["fingerprint"] == whole["fingerprint"]


@pytest.mark.slow
def test_patience_ends_a_training_that_gets_no_better(tmp_path, capsys):
    config = replace(TOY, learning_rate=0.0, patience=2, steps=12, eval_every=2, workdir=str(tmp_path))
    result = train(config)
    assert result["step"] == 6  # as good at 4 and at 6 as at 2
    assert "ended early: none of the 2 evaluations since step 2 was better" in capsys.readouterr().out
    # Killed between its last checkpoint and the result, it knows that it has ended.
    (tmp_path / "result.json").unlink()
    again = train(config)
    assert (again["step"], again["fingerprint"]) == (6, result["fingerprint"])
    assert json.loads((tmp_path / "result.json").read_text())["step"] == 6


def test_patience_without_an_evaluation_to_wait_for_is_refused(tmp_path):
    config = replace(TOY, patience=2, steps=12, eval_every=12, workdir=str(tmp_path))
    with pytest.raises(InputError, match=r"--patience=2 does nothing here: .* after the last step, 12; take a smaller"):
        train(config)
    assert not (tmp_path / "config.json").exists()


def test_patience_counts_evaluations_since_the_best():
    rows = {step: {"top1": top1} for step, top1 in enumerate([0.1, 0.5, 0.4, 0.5, 0.3])}
    assert not out_of_patience(rows, 0)
    assert not out_of_patience(rows, 4)
    assert out_of_patience(rows, 3).startswith("ended early: none of the 3 evaluations since step 1 was better")
    assert not out_of_patience({}, 1)
