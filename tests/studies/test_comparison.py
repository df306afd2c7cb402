"""The page of a comparison: the paired test, and runs on other images."""

import csv
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import compare
from resnet_jax.config.options import Config
from resnet_jax.errors import InputError
from resnet_jax.evaluation.predictions import Predictions
from resnet_jax.models.registry import create_model
from resnet_jax.run.train import train
from resnet_jax.studies.comparison import compared_run, paired_tests

from ..evaluation.test_report import check_whole

pytestmark = pytest.mark.slow

TOY = Config(
    model="resnet8_cifar",
    width=2,
    dataset="digits",
    image_size=0,
    crop_padding=1,
    batch_size=64,
    steps=6,
    learning_rate=0.05,
    reference_batch_size=0,
    schedule="linear",
    log_every=3,
    num_workers=0,
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs that differ in their seed; the name of one has what would be mathematics in a figure."""
    root = tmp_path_factory.mktemp("runs")
    folders = [root / "_a $x$ <i>", root / "b"]
    for seed, folder in enumerate(folders):
        train(replace(TOY, seed=seed, workdir=str(folder)))
    return folders


def test_the_page_of_two_runs(runs, tmp_path, capsys):
    out = tmp_path / "page.html"
    compare.main([*map(str, runs), f"--report={out}"])
    assert capsys.readouterr().out.count("| resnet8_cifar |") == 1  # what it printed before
    html = out.read_text()
    page = check_whole(html)
    assert [name for name in page.ids if "-" not in name] == ["result", "curves", "runs", "paired", "origin"]
    assert "<i>" not in html
    text = " ".join("".join(page.text).split())
    assert text.count("_a $x$ <i>") == 2 + 1 + 1 + 1  # in both figures, in both tables, in the command
    right = [np.array(read_right(folder)) for folder in runs]
    first, second = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    cells = " ".join(" ".join(page.text).split())
    assert f"{runs[0]} {runs[1]} {first} {second} " in cells


def read_right(folder):
    with (folder / "predictions.csv").open(newline="") as file:
        return [row["label"] == row["predicted"] for row in csv.DictReader(file)]


def test_the_cost_of_a_run(runs):
    result = json.loads((runs[1] / "result.json").read_text())
    found = compared_run(TOY, 1, result, runs[1])
    assert found.images == 6 * 64
    assert found.seconds == pytest.approx(6 * 64 / result["images_per_second"])
    assert (found.top1.value, found.top1.total) == (pytest.approx(result["top1"]), 360)
    model = create_model("resnet8_cifar", num_classes=10, width=2)
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    assert found.parameters == sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    untimed = compared_run(TOY, 1, result | {"images_per_second": None}, runs[1])
    assert untimed.seconds is None


def test_a_run_whose_images_are_gone_is_named_on_the_page(runs, tmp_path):
    copied = tmp_path / "folder"
    shutil.copytree(runs[1], copied)
    record = json.loads((copied / "config.json").read_text())
    record.pop("digest")
    record["config"] = asdict(replace(TOY, seed=5, dataset="folder", data_dir=str(tmp_path / "gone"), image_size=8))
    (copied / "config.json").write_text(json.dumps(record))
    compare.main([str(runs[0]), str(copied), f"--report={tmp_path / 'page.html'}"])
    text = " ".join("".join(check_whole((tmp_path / "page.html").read_text()).text).split())
    assert f"{copied}: {tmp_path}/gone is not a folder" in text


def predictions(names, right, sizes=()):
    label = np.zeros(len(names), int)
    predicted = np.where(right, 0, 1)
    ones = np.ones(len(names))
    return Predictions(tuple(names), label, predicted, ones, ones, ("a", "b"), np.array(sizes))


def test_folds_have_no_paired_test_and_one_line_says_so():
    folds = {f"run/fold{k}": predictions([f"{k}0", f"{k}1"], [True, False]) for k in range(3)}
    pairs, problems = paired_tests(list(folds), lambda folder: folds[str(folder)])
    assert pairs == []
    assert problems == ["No test: their images differ."]


def test_runs_on_the_same_images_are_paired_and_others_are_not():
    known = {
        "a": predictions("xyz", [True, True, True]),
        "b": predictions("xyz", [True, False, True]),
        "c": predictions("xyw", [True, False, True]),
        "blurred": predictions("xyz", [True, False, True], [5, 6, 7]),
    }

    def of(folder: Path) -> Predictions:
        if folder.name == "d":
            raise InputError("its images are gone")
        return known[folder.name]

    (pair,), problems = paired_tests(["a", "b", "c", "blurred", "d"], of)
    assert (pair.first, pair.second, pair.test.first_only, pair.test.second_only) == ("a", "b", 1, 0)
    assert problems == ["d: its images are gone", "No test of other pairs: their images differ."]
