"""A run that commit 446a54e began, with scan groups and an EMA, and that was stopped after 6 of 12 steps, continues.

Begun by `experiments.cifar` with OPTIONS, on one CPU device. Names of options, files, keys and parameters stand in
users' folders; a change of one of them would refuse the folder or lose something of it.
"""

import json
import tarfile
from pathlib import Path
from typing import Any

import jax
import pytest
from flax.traverse_util import flatten_dict

import resnet_jax
from experiments import cifar
from resnet_jax.evaluation.evaluate import evaluate
from resnet_jax.inference.trained import trained_from_run

OPTIONS = ["--dataset=digits", "--model=resnet20_cifar", "--width=2", "--scan", "--ema=0.9", "--batch_size=32"]
OPTIONS += ["--steps=12", "--log_every=2", "--eval_every=6", "--keep=1", "--crop_padding=1", "--flip=none"]
# Of the checkpoint at step 6, as 446a54e evaluated it.
LOSS, TOP1, EMA_LOSS = 2.302377149793837, 0.10277777777777777, 2.3029159545898437
END = 2.301725599500868  # its own loss after step 12; on other devices equal to rounding


@pytest.fixture
def workdir(tmp_path):
    with tarfile.open(Path(__file__).with_name("interrupted_446a54e.tar.xz")) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.mark.slow
def test_its_network_is_restored_and_evaluates_as_it_did(workdir):
    model: Any
    _, model, variables = resnet_jax.restore_run(workdir)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 4_492
    assert {path[0] for path in flatten_dict(variables["params"]) if path[0].startswith("stage3")} == {
        f"stage3_block0{number}" for number in (1, 2, 3)
    }
    assert not model.scan
    result = evaluate(trained_from_run(workdir), num_workers=0)
    assert (result["top1"], result["num_examples"]) == (TOP1, 360)
    assert result["loss"] == pytest.approx(LOSS, rel=1e-5)
    assert evaluate(trained_from_run(workdir, ema=True), num_workers=0)["loss"] == pytest.approx(EMA_LOSS, rel=1e-5)


@pytest.mark.slow
def test_the_same_command_continues_it_to_the_end(workdir):
    before = (workdir / "metrics.jsonl").read_text()
    config = (workdir / "config.json").read_text()
    cifar.main([*OPTIONS, "--num_workers=0", f"--workdir={workdir}"])
    assert (workdir / "metrics.jsonl").read_text().startswith(before)
    assert (workdir / "config.json").read_text() == config
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [(row["step"], row["split"]) for row in rows[4:]] == [
        (8, "train"),
        (10, "train"),
        (12, "train"),
        (12, "eval"),
    ]
    result = json.loads((workdir / "result.json").read_text())
    assert result["step"] == 12
    assert result["loss"] == pytest.approx(END, rel=1e-4)
