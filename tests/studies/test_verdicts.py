"""The status of a claim from run folders written by hand."""

import dataclasses
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from experiments import cifar, degradation, imagenet, tables
from experiments.tables import TABLES
from resnet_jax import cli, create_model
from resnet_jax.errors import InputError
from resnet_jax.studies.claim import cifar_claim
from resnet_jax.studies.reproduction import TRAININGS
from resnet_jax.studies.verdicts import FoundRun, find_runs, matches, status_of, verdict_of, verdict_table
from resnet_jax.workdir.folder import write_config
from tests.studies.rows import write_run

CLAIM = cifar_claim("resnet20_cifar", "he2015", 8.75, tolerance=0.2, seeds=3, source="a paper")
CLAIMS = [claim for table in TABLES.values() for claim in table]


def seeds(tmp_path, *errors, claim=CLAIM, **more):
    for seed, error in enumerate(errors):
        config = dataclasses.replace(claim.config, seed=seed, workdir=str(tmp_path / f"run{seed}"))
        write_run(config, error=error, more=more)
    return find_runs([tmp_path])[0]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.command)
def test_every_claim_is_a_command_that_gives_its_config(claim):
    words = shlex.split(claim.command)
    if words[2] == "experiments.degradation":
        _, configs = degradation.runs_of(cli.parse_options(degradation.Options, words[3:], "degradation", ""))
        assert len(configs) == claim.seeds
    else:
        module, name = {"experiments.cifar": (cifar, "cifar"), "experiments.imagenet": (imagenet, "imagenet")}[words[2]]
        configs = [cli.parse_config(words[3:], name, "", module.DEFAULTS, recipes=module.RECIPES, family="")]
    for config in configs:
        assert matches(claim, FoundRun(Path(), config, claim.data))
    create_model(claim.config.model)


def test_a_claim_about_a_folder_is_about_its_images():
    claim = next(claim for claim in TRAININGS if claim.data)
    assert matches(claim, FoundRun(Path(), claim.config, {**claim.data, "image_size": 128}))
    assert not matches(claim, FoundRun(Path(), claim.config, {**claim.data, "num_train": 12_894}))


def test_a_claim_is_told_from_every_other():
    for claim in CLAIMS:
        for other in CLAIMS:
            if matches(claim, FoundRun(Path(), other.config, other.data)):
                assert (claim.config, claim.error) == (other.config, other.error)


@pytest.mark.parametrize(
    ("errors", "status"),
    [
        ((), "not run"),
        ((8.9, 9.0, 8.95), "reproduced"),  # mean 8.95, just within
        ((8.0, 8.1, 8.2), "reproduced"),
        ((9.0, 9.0, 9.0), "missed"),
        ((8.9,), "within tolerance"),
        ((9.1,), "missed"),
    ],
)
def test_the_status_is_that_of_the_mean(errors, status):
    assert status_of(CLAIM, errors) == status


def test_an_ablation_must_be_as_bad_as_published_and_a_failure_must_fail():
    about = dataclasses.replace(CLAIM, error=12.35, holds="about", tolerance=1.0)
    assert status_of(about, [12.0] * 3) == "reproduced"
    assert status_of(about, [9.0] * 3) == "missed"
    assert status_of(about, [14.0] * 3) == "missed"
    fails = dataclasses.replace(CLAIM, error=20.0, holds="at least", tolerance=0.0)
    assert status_of(fails, [90.0] * 3) == "reproduced"
    assert status_of(fails, [19.0] * 3) == "missed"


def test_the_median_counts_where_the_paper_takes_it():
    errors = (8.8, 8.9, 20.0)
    assert status_of(CLAIM, errors) == "missed"
    assert status_of(dataclasses.replace(CLAIM, over="median"), errors) == "reproduced"


def test_runs_are_matched_by_their_settings(tmp_path):
    seeds(tmp_path, 8.8, 8.9, 8.7)
    changes: dict[str, dict[str, Any]] = {
        "short": {"steps": 10},
        "plain": {"model": "plain20_cifar"},
        "half": {"dtype": "bfloat16"},
    }
    for name, change in changes.items():
        write_run(dataclasses.replace(CLAIM.config, seed=9, workdir=str(tmp_path / name), **change), error=50.0)
    quiet: dict[str, Any] = {"log_every": 7, "eval_every": 9, "scan": True, "data_dir": "elsewhere", "seed": 4}
    write_run(dataclasses.replace(CLAIM.config, workdir=str(tmp_path / "logged"), **quiet), error=8.6)
    verdict = verdict_of(CLAIM, find_runs([tmp_path])[0])
    assert verdict.status == "reproduced"
    assert sorted(verdict.errors) == pytest.approx([8.6, 8.7, 8.8, 8.9])


def test_a_training_without_a_published_result_is_measured_and_timed(tmp_path):
    claim = dataclasses.replace(CLAIM, error=None)
    assert status_of(claim, []) == "not run"
    runs = seeds(tmp_path, 8.0, 9.0, claim=claim, step=45_000, images_per_second=800.0)
    verdict = verdict_of(claim, runs)
    assert (verdict.status, verdict.hours) == ("measured", (2.0, 2.0))  # 45,000 steps of 128
    assert "| - | - | 2 of 3 | 8.50 ± 0.71 | measured | 2.00 | a paper |" in verdict_table([claim], runs)


def test_of_two_runs_with_one_seed_error_and_hours_are_the_last_ones(tmp_path):
    claim = dataclasses.replace(CLAIM, error=None)
    seeds(tmp_path / "a", 8.0, claim=claim, step=45_000, images_per_second=800.0)
    seeds(tmp_path / "b", 9.0, claim=claim, step=45_000)
    verdict = verdict_of(claim, find_runs([tmp_path])[0])
    assert (verdict.errors, verdict.hours) == (pytest.approx((9.0,)), ())


def test_an_unfinished_run_does_not_count_and_is_named(tmp_path):
    seeds(tmp_path, 8.8)
    write_run(dataclasses.replace(CLAIM.config, seed=1, workdir=str(tmp_path / "going")))
    verdict = verdict_of(CLAIM, find_runs([tmp_path])[0])
    assert verdict.status == "within tolerance"
    assert "going is not finished" in verdict.note


def test_another_protocol_is_read_from_its_own_file(tmp_path):
    claim = dataclasses.replace(CLAIM, protocol="ten_crop", seeds=1)
    runs = seeds(tmp_path, 8.8, claim=claim)
    verdict = verdict_of(claim, runs)
    assert verdict.status == "not run"
    assert f"--protocol=ten_crop --json > {tmp_path}/run0/ten_crop.json" in verdict.note
    (tmp_path / "run0" / "ten_crop.json").write_text(json.dumps({"top1": 0.95, "num_examples": 100}))
    assert verdict_of(claim, runs).errors == pytest.approx((5.0,))
    (tmp_path / "run0" / "ten_crop.json").write_text("")  # of a command that was interrupted
    with pytest.raises(InputError, match=r"ten_crop\.json is not what experiments\.evaluate --json prints"):
        verdict_of(claim, runs)


def test_the_average_of_the_weights_is_read_where_the_claim_is_about_it(tmp_path):
    claim = dataclasses.replace(CLAIM, metric="ema_top1")
    assert verdict_of(claim, seeds(tmp_path, 50.0, ema_top1=0.92)).errors == pytest.approx((8.0,))


def test_the_command_prints_the_table_of_what_is_there(tmp_path, capsys):
    seeds(tmp_path / "a", 8.8, 8.7, 8.9, 8.8, 8.6, claim=TABLES["cifar"][0])
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "config.json").write_text('{"model_type": "of another program"}')
    tables.main(["--table=cifar", f"--runs={tmp_path / 'a'},{tmp_path / 'b'}"])
    printed, problems = capsys.readouterr()
    rows = {line.split(" | ")[0]: line for line in printed.splitlines() if line.startswith("| `")}
    assert len(rows) == len(TABLES["cifar"])
    first = rows["| `python -m experiments.cifar --model=resnet20_cifar --recipe=he2015`"]
    assert "| <= 8.75 | 0.2 | 5 of 5 | 8.76 ± 0.11 | reproduced |" in first
    assert sum("| not run |" in row for row in rows.values()) == len(rows) - 1
    assert "b/config.json is left out" in problems


def test_a_config_that_is_not_as_it_was_written_is_left_out(tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    write_config(workdir, dataclasses.replace(CLAIM.config, workdir=str(workdir), seed=4), {})
    assert [run.config.seed for run in find_runs([tmp_path])[0]] == [4]
    path = workdir / "config.json"
    path.write_text(path.read_text().replace('"seed": 4', '"seed": 5'))
    runs, problems = find_runs([tmp_path])
    assert runs == []
    assert len(problems) == 1
    assert "config.json is left out: " in problems[0]
    assert "does not match its digest" in problems[0]


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        find_runs([tmp_path / "nothing"])


def test_every_table_can_be_printed_without_runs():
    for claims in TABLES.values():
        assert verdict_table(claims, []).count("| not run |") == len(claims)
