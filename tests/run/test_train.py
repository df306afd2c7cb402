"""Whole training runs in this process, on eight forced devices, in seconds."""

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image

import resnet_jax
from resnet_jax.config.options import Config
from resnet_jax.data.augment.opencv_resize import opencv
from resnet_jax.errors import InputError
from resnet_jax.evaluation.evaluate import evaluate
from resnet_jax.inference.predict import predict
from resnet_jax.inference.trained import trained_from_run
from resnet_jax.optim.build import build_tx
from resnet_jax.run.train import train

TOY = Config(
    model="resnet8_cifar",
    width=2,
    dataset="digits",
    image_size=0,
    crop_padding=1,
    flip="none",
    batch_size=64,
    steps=12,
    learning_rate=0.05,
    reference_batch_size=0,
    schedule="linear",
    log_every=5,
    eval_every=8,
    num_workers=0,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished run."""
    workdir = tmp_path_factory.mktemp("run")
    train(replace(TOY, workdir=str(workdir), tensorboard=True))
    return workdir


def rows(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_a_run_leaves_the_folder_that_is_promised(finished):
    names = {path.name for path in finished.iterdir()} - {".lock"}
    assert names == {"config.json", "metrics.jsonl", "checkpoints", "result.json", "curves.png", "tensorboard"}
    config = json.loads((finished / "config.json").read_text())
    assert config["config"]["seed"] == 0
    assert config["versions"]["jax"] == jax.__version__
    assert abs(datetime.now(UTC) - datetime.fromisoformat(config["started"])) < timedelta(hours=1)
    assert config["machine"]["devices"] == 8
    assert config["machine"]["cores"] >= 1
    assert config["machine"]["processor"]
    assert config["class_names"] == [str(digit) for digit in range(10)]
    result = json.loads((finished / "result.json").read_text())
    assert result["step"] == 12
    assert result["num_examples"] == 360
    assert result["images_per_second"] > 0
    assert 0 <= result["top1"] <= result["top5"] <= 1
    assert any((finished / "tensorboard").iterdir())
    with Image.open(finished / "curves.png") as curves:
        assert curves.width > 500


def test_the_log_has_every_interval_once_and_evaluations_where_they_are_due(finished):
    assert [(row["step"], row["split"]) for row in rows(finished)] == [
        (5, "train"),
        (8, "eval"),
        (10, "train"),
        (12, "train"),
        (12, "eval"),
    ]
    assert rows(finished)[0]["epoch"] == pytest.approx(5 * 64 / 1437, abs=1e-6)
    assert all(0 <= row["waiting"] <= 1 for row in rows(finished) if row["split"] == "train")


def test_a_restored_run_gives_the_evaluated_accuracy(finished):
    result = json.loads((finished / "result.json").read_text())
    config, _, variables = resnet_jax.restore_run(finished)
    assert config.model == "resnet8_cifar"
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    again = evaluate(trained_from_run(finished), batch_size=7, num_workers=0)
    assert again["num_examples"] == 360
    assert again["top1"] == result["top1"]
    assert again["loss"] == pytest.approx(result["loss"], rel=1e-5)
    _, _, best = resnet_jax.restore_run(finished, "best")
    jax.tree.map(lambda a, b: None, best, variables)
    with pytest.raises(InputError, match="no checkpoint '3'; there are 8, 12"):
        resnet_jax.restore_run(finished, "3")


def test_a_prediction_names_the_classes_of_a_file_by_their_probability(finished, tmp_path):
    from resnet_jax.data.sources.load import load_source

    example = load_source("digits", "val", None, 0)[0]
    Image.fromarray(np.asarray(example.image)).save(tmp_path / "digit.png")
    (prediction,) = predict(trained_from_run(finished), [tmp_path / "digit.png"], top=10)
    shown = [entry["probability"] for entry in prediction["classes"]]
    assert shown == sorted(shown, reverse=True)
    assert sum(shown) == pytest.approx(1, abs=1e-4)
    assert {entry["class"] for entry in prediction["classes"]} == {str(digit) for digit in range(10)}
    with pytest.raises(InputError, match=r"missing\.png: No such file"):
        predict(trained_from_run(finished), [tmp_path / "missing.png"])


@pytest.mark.slow
def test_bfloat16_and_fake_data_and_adamw_run(tmp_path):
    config = replace(
        TOY, dataset="fake", image_size=32, dtype="bfloat16", optimizer="adamw", steps=2, workdir=str(tmp_path)
    )
    assert train(config)["num_examples"] == 256


def photographs(root, per_class=6):
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind, shade in (("dark", 40), ("light", 200)):
            folder = root / split / kind
            folder.mkdir(parents=True)
            for index in range(per_class):
                noise = rng.integers(-30, 30, (40, 50, 3))
                Image.fromarray((shade + noise).astype(np.uint8)).save(folder / f"{index}.jpg")


@pytest.mark.slow
def test_an_unreadable_photograph_is_named_and_counted_in_training_and_refused_in_evaluation(tmp_path, capsys):
    root, workdir = tmp_path / "photographs", tmp_path / "run"
    photographs(root)
    (root / "train" / "dark" / "3.jpg").write_bytes(b"\xff\xd8 cut off")
    config = replace(
        TOY, dataset="folder", data_dir=str(root), image_size=16, batch_size=8, steps=6, workdir=str(workdir)
    )
    result = train(config)
    assert result["skipped_images"] == 1
    assert "train/dark/3.jpg" in capsys.readouterr().out
    assert result["num_examples"] == 12

    (root / "val" / "light" / "0.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"val/light/0\.jpg"):
        evaluate(trained_from_run(workdir), num_workers=0)


def test_a_damaged_validation_image_is_found_before_the_training(tmp_path):
    root, workdir = tmp_path / "photographs", tmp_path / "run"
    photographs(root)
    whole = (root / "val" / "light" / "2.jpg").read_bytes()
    (root / "val" / "light" / "2.jpg").write_bytes(whole[: len(whole) // 2])
    config = replace(TOY, dataset="folder", data_dir=str(root), image_size=16, batch_size=8, workdir=str(workdir))
    with pytest.raises(InputError, match=r"val/light/2\.jpg"):
        train(config)
    assert not (workdir / "config.json").exists()


@pytest.mark.slow
def test_a_validation_image_damaged_within_stops_the_run_until_it_is_replaced(tmp_path):
    root, workdir = tmp_path / "photographs", tmp_path / "run"
    photographs(root)
    damaged = root / "val" / "light" / "2.jpg"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-20] + b"\xff\xd9")  # its header and its end are as they should be
    images = {"dataset": "folder", "data_dir": str(root), "image_size": 16, "batch_size": 8}
    config = replace(TOY, **images, steps=2, workdir=str(workdir))
    with pytest.raises(InputError, match=r"light/2\.jpg: damaged .*; replace it under the same name, .*new folder$"):
        train(config)
    damaged.write_bytes(whole)
    assert train(config)["num_examples"] == 12


def test_a_batch_that_the_devices_cannot_share_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"--batch_size=60 cannot be shared by 8 devices; take 56"):
        train(replace(TOY, batch_size=60, workdir=str(tmp_path)))
    assert not (tmp_path / "config.json").exists()


def test_evaluating_on_a_set_of_other_classes_is_refused(finished):
    with pytest.raises(InputError, match="has 1000 classes, the network 10"):
        evaluate(trained_from_run(finished), dataset="fake")


def test_a_run_that_cannot_start_does_not_take_the_folder(tmp_path):
    mistakes: tuple[tuple[dict[str, Any], str], ...] = (
        ({"model": "unet_resnet18", "width": 0}, "classifies pixels"),
        ({"milestones": (30.0, 60.0)}, "--milestones=30.0 must be between 0 and 1"),
        ({"norm": "group"}, "multiples of 32"),
        ({"norm": "frozen"}, "--norm=frozen needs trained statistics"),
        ({"model": "resnet18", "bn_group_size": 1}, "--bn_group_size=1 leaves resnet18 at 8 pixels one value"),
    )
    for wrong, message in mistakes:
        with pytest.raises(InputError, match=message):
            train(replace(TOY, workdir=str(tmp_path), **wrong))
        assert not (tmp_path / "config.json").exists()


def test_a_run_without_a_folder_does_not_take_the_one_it_is_started_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^--workdir is empty; name a folder for the run, such as"):
        train(replace(TOY, workdir=""))
    assert not list(tmp_path.iterdir())


def test_images_that_a_network_cannot_whiten_do_not_take_the_folder(tmp_path):
    gray = replace(TOY, model="airbench94_cifar", width=0, image_size=16, workdir=str(tmp_path / "run"))
    with pytest.raises(InputError, match="whitens colors, and the images have none"):
        train(gray)
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_missing_opencv_is_found_before_the_run_begins(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    opencv.cache_clear()
    photographs(tmp_path / "photographs", per_class=4)
    config = replace(
        TOY, dataset="folder", data_dir=str(tmp_path / "photographs"), image_size=16, batch_size=8, steps=1
    )
    with pytest.raises(InputError, match="--train_interpolation=fast needs OpenCV"):
        train(replace(config, train_interpolation="fast", workdir=str(tmp_path / "run")))
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.slow
def test_the_best_evaluated_checkpoint_stays(tmp_path):
    train(replace(TOY, workdir=str(tmp_path), steps=16, eval_every=5, checkpoint_every=3, keep=1, learning_rate=0.02))
    scores = {row["step"]: row["top1"] for row in rows(tmp_path) if row["split"] == "eval"}
    best = max(sorted(scores), key=lambda step: scores[step])
    kept = {int(path.name) for path in (tmp_path / "checkpoints").iterdir()}
    assert {best, 16} <= kept
    assert len(kept) <= 2  # which is best is known once the newest has been evaluated


def test_what_is_frozen_does_not_decay():
    tx = build_tx(replace(TOY, norm="frozen", weight_decay=0.1), optax.constant_schedule(0.1), 1)
    params: Any = {"scale": jnp.ones(3), "kernel": jnp.ones((2, 2))}
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    decayed = cast(Any, updates)
    assert not np.any(decayed["scale"])
    assert np.all(decayed["kernel"] < 0)
