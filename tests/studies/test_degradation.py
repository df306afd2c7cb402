"""The study itself: its settings, and toy runs that are interrupted and go on."""

import json
import os
import signal

import pytest

from experiments import cifar, degradation
from resnet_jax import cli
from resnet_jax.config.options import FREE_TO_CHANGE, differences
from resnet_jax.errors import InputError, NonFiniteError
from resnet_jax.evaluation.evaluate import evaluate
from resnet_jax.inference.trained import load_trained
from resnet_jax.studies import degradation as study
from resnet_jax.training.progress import Progress

TOY = ["--depths=8", "--dataset=digits", "--steps=8", "--batch_size=64", "--width=2"]


def status_of(*argv):
    with pytest.raises(SystemExit) as left:
        cli.run_command(degradation.main, argv)
    return left.value.code


def test_the_papers_budget_is_the_recipe_of_experiments_cifar(tmp_path):
    for depth, recipe in ((56, "he2015"), (110, "he2015_deep")):
        ours = study.run_config(f"plain{depth}_cifar", 0, tmp_path, "paper")
        argv = [f"--model=plain{depth}_cifar", f"--recipe={recipe}"]
        theirs = cli.parse_config(argv, "cifar", "", cifar.DEFAULTS, recipes=cifar.RECIPES, family="")
        logging = {"--log_every", "--eval_every"}
        assert {line.split("=")[0] for line in differences(theirs, ours)} == logging
        assert "workdir" in FREE_TO_CHANGE


def test_networks_are_ordered_by_depth_and_must_exist():
    assert study.network_names(["plain", "resnet"], [20, 8]) == [
        *("plain20_cifar", "resnet20_cifar", "plain8_cifar", "resnet8_cifar")
    ]
    with pytest.raises(InputError, match="6n"):
        study.network_names(["plain"], [21])
    with pytest.raises(InputError, match="no such network"):
        study.network_names(["simple"], [20])


@pytest.mark.parametrize(("option", "message"), [("--depths=20;56", "not a list"), ("--seeds=0", "at least 1")])
def test_what_is_no_study_is_refused(option, message, capsys):
    assert status_of(option) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "message"),
    [("--summary", "holds no run; name the folder of a study"), ("--steps=-1", "must be between")],
)
def test_nothing_is_written_of_no_study(option, message, capsys, tmp_path):
    assert status_of(option, f"--workdir={tmp_path / 'study'}", "--dataset=digits") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


@pytest.mark.slow
def test_a_toy_study_is_interrupted_and_the_same_command_finishes_it(tmp_path, capsys, monkeypatch):
    argv = [*TOY, f"--workdir={tmp_path}"]
    tick = Progress.tick

    def interrupt(self, step, output):
        tick(self, step, output)
        # An evaluation is due after every step here: this one is cut short before its first batch.
        if step == 5 and (tmp_path / "plain8_cifar-seed0" / "result.json").exists():
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Progress, "tick", interrupt)
    assert status_of(*argv) == 75
    assert "the same command continues the run" in capsys.readouterr().err
    table = (tmp_path / "table.md").read_text()
    assert "seed 0 at 4" in table  # the last that is logged
    assert not (tmp_path / "resnet8_cifar-seed0" / "result.json").exists()

    monkeypatch.setattr(Progress, "tick", tick)
    assert status_of(*argv) == 0
    printed = capsys.readouterr().out
    assert "plain8_cifar-seed0 is finished, nothing to do" in printed
    assert "continuing after step 5" in printed
    assert {f.parent.name for f in tmp_path.glob("*/training_set.json")} == {
        "plain8_cifar-seed0",
        "resnet8_cifar-seed0",
    }
    results = {f.parent.name: json.loads(f.read_text()) for f in tmp_path.glob("*/result.json")}
    assert {name: result["step"] for name, result in results.items()} == {
        "plain8_cifar-seed0": 8,
        "resnet8_cifar-seed0": 8,
    }
    table = (tmp_path / "table.md").read_text()
    assert f"{100 * (1 - results['resnet8_cifar-seed0']['top1']):.2f}" in table
    scores = evaluate(load_trained(str(tmp_path / "resnet8_cifar-seed0")), split="train")
    assert scores["num_examples"] == 1437
    assert f"| {100 * (1 - scores['top1']):.2f} |" in table

    (tmp_path / "table.md").unlink()
    assert status_of(*argv, "--summary") == 0
    assert "digits, 8 steps of 64" in (tmp_path / "table.md").read_text()


def test_a_run_that_diverges_does_not_stop_the_others(tmp_path, monkeypatch):
    trained = []

    def train(config):
        if config.model == "plain8_cifar":
            raise NonFiniteError("loss is nan")
        trained.append(config.model)

    monkeypatch.setattr(study, "train", train)
    monkeypatch.setattr(study, "measure_training_error", lambda workdir: None)
    configs = [study.run_config(name, 0, tmp_path, "short") for name in ("plain8_cifar", "resnet8_cifar")]
    calls = []
    with pytest.raises(NonFiniteError, match="diverged: plain8_cifar-seed0"):
        study.train_all(configs, after_each=lambda: calls.append(1))
    assert trained == ["resnet8_cifar"]
    assert len(calls) == 2
