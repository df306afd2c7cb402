"""Runs on few pictures, or on unequal classes: folds, balanced sampling, class weights, batches that repeat."""

import json
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

import resnet_jax
from resnet_jax.config.checks import check_config
from resnet_jax.config.options import Config
from resnet_jax.data.build import build_data
from resnet_jax.errors import InputError, InterruptedRunError
from resnet_jax.evaluation.evaluate import evaluate
from resnet_jax.inference.trained import trained_from_run
from resnet_jax.run.build import build_loss
from resnet_jax.run.cached_features import check_cache
from resnet_jax.run.state import third_save
from resnet_jax.run.train import train
from resnet_jax.runtime.sharding import data_mesh
from tests.run.test_ingredients import interrupt_at
from tests.run.test_train import TOY, rows

SIZES = [(1, 1), (1, 40), (40, 1), (3, 300), (30, 40)]  # heights and widths
FEW = replace(TOY, dataset="folder", image_size=16, batch_size=64, steps=3, log_every=1, eval_every=0)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> str:
    """A CSV file of twenty pictures, fourteen dark and six light, some a pixel wide."""
    root = tmp_path_factory.mktemp("pictures")
    noise = np.random.default_rng(0)
    lines = ["path,label"]
    for number in range(20):
        label, shade = ("light", 200) if number % 10 > 6 else ("dark", 40)
        name = f"{number}.{'jpg' if number % 2 else 'png'}"
        pixels = shade + noise.integers(-30, 30, (*SIZES[number % 5], 3))
        Image.fromarray(pixels.astype(np.uint8)).save(root / name)
        lines.append(f"{name},{label}")
    (root / "list.csv").write_text("\n".join(lines))
    return str(root / "list.csv")


@pytest.mark.slow
def test_a_set_smaller_than_a_batch_repeats_and_says_so(pictures, tmp_path, capsys, monkeypatch):
    config = replace(FEW, data_dir=pictures, val_fraction=0.3, workdir=str(tmp_path))
    with monkeypatch.context() as patched:
        interrupt_at(patched, 2)
        with pytest.raises(InterruptedRunError):
            train(config)
    result = train(config)
    facts = json.loads((tmp_path / "config.json").read_text())
    n = facts["num_train"]
    assert n + result["num_examples"] == n + facts["num_test"] == 20
    said = f"{n} training images in batches of 64: each comes {64 / n:.3g} times in a batch"
    assert said in capsys.readouterr().err
    # An epoch is less than a step, after each of which there is an evaluation then.
    assert [row["step"] for row in rows(tmp_path) if row["split"] == "eval"] == [1, 2, 3]
    assert rows(tmp_path)[-1]["epoch"] == pytest.approx(3 * 64 / n, abs=1e-5)


def test_checkpoints_of_epochs_shorter_than_a_step_are_counted_by_steps():
    run: Any = SimpleNamespace(checkpoint_every=Fraction(20, 64), eval_every=Fraction(20, 64))
    assert third_save(run) == 3
    run.checkpoint_every = run.eval_every = Fraction(100, 64)
    assert third_save(run) == 5


@pytest.mark.slow
def test_a_fold_is_evaluated_on_the_pictures_that_it_held_out(pictures, tmp_path):
    held: list[float] = []
    for fold in range(2):
        config = replace(FEW, data_dir=pictures, folds=2, fold=fold, steps=1, eval_every=1)
        workdir = tmp_path / str(fold)
        result = train(replace(config, workdir=str(workdir)))
        trained = trained_from_run(workdir)
        again = evaluate(trained, num_workers=0)
        assert (again["num_examples"], again["top1"]) == (10, result["top1"])
        assert evaluate(trained, split="train", num_workers=0)["num_examples"] == 10
        # A folder that has moved is split as in the training; named as another set, it is taken whole.
        assert evaluate(trained, data_dir=pictures, num_workers=0)["num_examples"] == 10
        assert evaluate(trained, dataset="folder", data_dir=pictures, num_workers=0)["num_examples"] == 20
        held.append(json.loads((workdir / "config.json").read_text())["test_examples"])
    assert held[0] != held[1]


def test_the_weights_of_the_classes_are_those_of_the_training_set(pictures):
    config = replace(FEW, data_dir=pictures, folds=2, class_weights="balanced", batch_size=8)
    data = build_data(config, data_mesh())
    counts = np.bincount(data.train_labels())
    assert counts.tolist() == [7, 3]
    logits = jax.numpy.zeros((2, 2))
    losses = build_loss(config, data)(logits, {"label": jax.numpy.array([0, 1])})
    np.testing.assert_allclose(losses, np.log(2) * 10 / (2 * counts), rtol=1e-6)


def trained_arrays(config, workdir) -> list[np.ndarray]:
    train(replace(config, workdir=str(workdir)))
    return [np.asarray(leaf) for leaf in jax.tree.leaves(resnet_jax.restore_run(workdir)[2])]


@pytest.mark.slow
def test_balanced_batches_continue_with_the_same_bits(tmp_path, monkeypatch):
    config = replace(TOY, sampling="balanced", steps_per_call=4, eval_every=12, checkpoint_every=6)
    whole = train(replace(config, workdir=str(tmp_path / "whole")))
    halves = replace(config, workdir=str(tmp_path / "halves"))
    with monkeypatch.context() as patched:
        interrupt_at(patched, 7)
        with pytest.raises(InterruptedRunError):
            train(halves)
    assert train(halves)["fingerprint"] == whole["fingerprint"]


@pytest.mark.slow
def test_weighted_losses_are_the_same_in_micro_batches_and_sharded_states(tmp_path):
    config = replace(TOY, class_weights="balanced", loss="binary_cross_entropy", mixup=0.2, bn_group_size=4, steps=3)
    plain = trained_arrays(config, tmp_path / "plain")
    parts = trained_arrays(replace(config, fsdp=True, accumulate=2), tmp_path / "parts")
    for a, b in zip(plain, parts, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"folds": 1}, "--folds=1 --fold=0: take 2 folds or more"),
        ({"folds": 3, "fold": 3}, "--folds=3 --fold=3: take 2 folds or more, and a fold below that"),
        ({"fold": 2}, "--fold=2 does nothing here: it needs --folds"),
        ({"folds": 3, "val_fraction": 0.2}, "--folds=3 and --val_fraction=0.2 both split; take one"),
        ({"sampling": "balanced", "class_weights": "balanced"}, "both balance the classes; take one"),
        ({"sampling": "balanced", "repeats": 2}, "leave --repeats=2 out"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, why):
    with pytest.raises(InputError, match=why):
        check_config(replace(TOY, **options))


@pytest.mark.parametrize(
    ("options", "remedy"),
    [({"sampling": "balanced"}, "take --class_weights=balanced"), ({"repeats": 2}, "leave --repeats=2 out")],
)
def test_features_are_not_cached_of_epochs_that_lack_pictures(options, remedy):
    params = {"head": {"kernel": np.zeros((2, 2)), "bias": np.zeros(2)}, "stem": {"conv": np.zeros(1)}}
    with pytest.raises(InputError, match=f"--cache_features=1 needs epochs that show every picture once; {remedy}"):
        check_cache(replace(TOY, cache_features=1, freeze="stem", **options), params)


def test_a_crop_that_is_larger_than_the_resized_image_is_refused(tmp_path):
    config = Config(model="resnet8_cifar", dataset="fake", image_size=32, eval_resize=16, batch_size=8)
    config = replace(config, workdir=str(tmp_path / "run"))
    with pytest.raises(InputError, match=r"--eval_resize=16: the network sees 32 x 32 pixels, .*; take 32 or more"):
        resnet_jax.train(config)
    assert not (tmp_path / "run" / "config.json").exists()


def test_pictures_of_one_class_are_no_training(tmp_path):
    """Such as class folders that lie a folder too deep: ROOT/train/images/CLASS."""
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / split / "images" / name).mkdir(parents=True)
            Image.new("RGB", (20, 20)).save(tmp_path / split / "images" / name / "0.png")
    with pytest.raises(InputError, match=r"all images are of one class, 'images', .* ROOT/train/CLASS/"):
        build_data(replace(FEW, data_dir=str(tmp_path)), data_mesh())
