"""A changed row of a log is named by every command that shows it, and left out."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from resnet_jax.config.options import Config
from resnet_jax.data.notices import print_notice
from resnet_jax.evaluation.report import write_report
from resnet_jax.inference.trained import load_trained
from resnet_jax.studies.comparison import compared_run
from resnet_jax.studies.degradation_report import read_study
from resnet_jax.workdir.folder import read_result, read_run_config
from resnet_jax.workdir.verified_log import verified_rows

pytestmark = pytest.mark.slow  # they begin with a training


@pytest.fixture
def run(original, tmp_path) -> Path:
    """The folder of a finished run, named as one of a study."""
    shutil.copytree(original / "photographs", tmp_path / "photographs")
    run = Path(shutil.copytree(original / "run", tmp_path / "resnet8_cifar-seed0"))
    shutil.copy(original / "result.json", run)
    return run


def read(run: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the rows and what was reported of them."""
    reported: list[str] = []
    return verified_rows(run, reported.append), reported


def change(run: Path, number: int, pattern: str = r'("loss": \d\.\d\d)(\d)') -> list[dict[str, Any]]:
    """Change a digit of a line, counted from 1; return the rows without it."""
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines()
    kept = [json.loads(line) for line in lines]
    del kept[number - 1]
    lines[number - 1] = re.sub(pattern, lambda m: f"{m[1]}{(int(m[2]) + 1) % 10}", lines[number - 1], count=1)
    path.write_text("\n".join(lines) + "\n")
    return kept


def test_whole_logs_are_read_without_a_word(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 6  # four steps, two evaluations
    assert read(run) == (rows, [])
    (run / "result.json").unlink()
    assert read(run) == (rows, [])
    shutil.rmtree(run / "checkpoints")
    assert read(run) == (rows, [])


@pytest.mark.parametrize("number", range(1, 7))
@pytest.mark.parametrize("pattern", [r'("loss": \d\.\d\d)(\d)', r'("step": )(\d)', r'("top1": 0\.)(\d)'])
def test_every_changed_digit_is_named(run, number, pattern):
    kept = change(run, number, pattern)
    rows, (line,) = read(run)
    assert rows == kept
    assert line.endswith(f"metrics.jsonl: 1 rows are lost or changed, the first in line {number}; they are left out")


def test_a_lost_row_is_said(run):
    path = run / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    rows, (line,) = read(run)
    assert (len(rows), line) == (5, f"warning: {path}: 1 rows are lost or changed; they are left out")


def test_a_row_that_a_training_is_just_writing_is_no_fault(run):
    (run / "result.json").unlink()
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    rows, reported = read(run)
    assert (len(rows), reported) == (6, [])


def test_report_comparison_and_study_do_not_show_it(run, tmp_path, capsys):
    kept = change(run, 3)
    config, _ = read_run_config(run)
    result: Any = read_result(run)
    readers: Any = [
        lambda: compared_run(config, 0, result, run).rows,
        lambda: read_study(tmp_path)[0].rows,
        lambda: write_report(load_trained(run), tmp_path / "x.html", num_workers=0).rows,
    ]
    assert isinstance(config, Config)
    for reader in readers:
        print_notice.cache_clear()  # each line once in a process
        assert reader() == kept
        assert "1 rows are lost or changed, the first in line 3" in capsys.readouterr().err
