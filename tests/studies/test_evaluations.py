"""The table of evaluations from files as `experiments.evaluate --json` prints them."""

import json

import pytest

from experiments import tables
from resnet_jax.errors import InputError
from resnet_jax.studies.evaluations import Evaluation, evaluation_row, evaluation_table

COMMAND = "python -m experiments.evaluate --json"


def write(folder, top1, count=10_000):
    (folder / "a.json").write_text(json.dumps({"loss": 0.4, "top1": top1, "num_examples": count}))


@pytest.mark.parametrize(("top1", "status"), [(0.9173, "reproduced"), (0.9172, "missed"), (0.9174, "missed")])
def test_the_published_error_is_met_to_its_last_digit_or_missed(tmp_path, top1, status):
    write(tmp_path, top1)
    row = evaluation_row(Evaluation(COMMAND, "a.json", 8.27, "a README"), [tmp_path / "none", tmp_path])
    assert row[1] == "8.27"
    assert row[5] == status


def test_the_interval_is_wilsons_of_the_error(tmp_path):
    write(tmp_path, 0.9)
    row = evaluation_row(Evaluation(COMMAND, "a.json", None, "ours"), [tmp_path])
    # (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n) of p = 0.1, n = 10,000, z = 1.96
    assert row == (f"`{COMMAND} > a.json`", "-", "10.00", "9.43 to 10.60", "10,000", "measured", "ours")


def test_an_evaluation_without_a_file_is_not_run(tmp_path):
    assert "| not run |" in evaluation_table([Evaluation(COMMAND, "a.json", 8.27, "a README")], [tmp_path])


@pytest.mark.parametrize("text", ["top-1 0.9", "[]", '{"top1": 0.9}'])
def test_another_file_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=r"a\.json is not what experiments\.evaluate --json prints"):
        evaluation_table([Evaluation(COMMAND, "a.json", 8.27, "a README")], [tmp_path])


def test_the_command_prints_trainings_and_evaluations(tmp_path, capsys):
    (tmp_path / "evaluations").mkdir()
    write(tmp_path / "evaluations", 0.9173)
    (tmp_path / "evaluations" / "a.json").rename(tmp_path / "evaluations" / "resnet20_center.json")
    tables.main(["--table=reproduction", f"--runs={tmp_path}"])
    printed = capsys.readouterr().out
    assert "`python -m experiments.cifar --model=airbench94_cifar --recipe=airbench94`" in printed
    assert "| 8.27 | 8.27 | 7.75 to 8.83 | 10,000 | reproduced |" in printed
