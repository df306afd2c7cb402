"""The program of the measurements on a GPU, rehearsed at toy size: every part runs, and is a row of its table."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import QUICK

PROGRAM = Path(__file__).parents[2] / "docs" / "measurements" / "gpu.py"
PARTS = ("train", "small", "airbench", "he2015", "infer", "seeds", "switches")  # parity needs torch, and says so


@pytest.mark.slow
@pytest.mark.parametrize("parts", [("small",), pytest.param(PARTS, marks=pytest.mark.long)], ids=len)
def test_every_part_runs_at_toy_size(tmp_path, parts):
    command = [sys.executable, str(PROGRAM), f"--out={tmp_path}", "--minutes=20", "--toy"]
    done = subprocess.run(
        [*command, f"--parts={','.join(('parity', *parts))}"],
        env=os.environ | {"XLA_FLAGS": QUICK},  # one device, as on the machine it is for
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    table = done.stdout[done.stdout.index("| what |") :]
    failed = [line for line in table.splitlines() if "failed" in line]
    assert all("ModuleNotFoundError" in line or "torch" in line for line in failed), table
    for part in parts:
        found = json.loads((tmp_path / f"{part}.json").read_text())
        assert found["seconds"] > 0
    steps = json.loads((tmp_path / "small.json").read_text())
    assert steps["ours, many steps a call"]["milliseconds_per_step"] > 0
    if "airbench" not in parts:
        return
    run = json.loads((tmp_path / "airbench.json").read_text())["float32"]["runs"][0]
    assert 0 <= run["top1"] <= 1


@pytest.mark.slow
def test_a_part_that_does_not_fit_the_minutes_is_skipped(tmp_path):
    command = [sys.executable, str(PROGRAM), f"--out={tmp_path}", "--minutes=0.5", "--parts=train,airbench"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| train | skipped: " in done.stdout
    assert "| airbench | skipped: no --data_dir |" in done.stdout
    assert not (tmp_path / "train.json").exists()
