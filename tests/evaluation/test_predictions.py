"""Predictions of every image once, stored and read."""

import csv
import dataclasses
import json
import os
import shutil

import jax
import numpy as np
import pytest

from experiments import prepare
from resnet_jax.data.sources.folder import FolderSource
from resnet_jax.errors import InputError
from resnet_jax.evaluation.evaluate import evaluate
from resnet_jax.evaluation.image_set import image_set, open_set
from resnet_jax.evaluation.predictions import names_of, of_scores, predict_set
from resnet_jax.evaluation.report import predictions_of
from resnet_jax.evaluation.scores import Scores
from resnet_jax.evaluation.stored_predictions import read_predictions, subject_of, write_predictions
from resnet_jax.inference.predict import predict
from resnet_jax.inference.trained import trained_from_run

from .conftest import CLASSES, ODD_FILE


@pytest.fixture(scope="module")
def network(odd_run):
    return trained_from_run(odd_run)


@pytest.fixture(scope="module")
def predicted(network):
    images = image_set(network)
    source = open_set(images, network, 16)
    return predict_set(network, source, images, num_workers=0), subject_of(network, source, images)


def test_scores_become_predictions():
    log_scores = np.log(np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]], np.float32))
    found = of_scores(Scores(log_scores, np.array([1, 2])), ("x", "y"), ("a", "b", "c"))
    np.testing.assert_array_equal(found.predicted, [0, 2])
    np.testing.assert_allclose(found.probability, [0.7, 0.4], rtol=1e-6)
    np.testing.assert_allclose(found.loss, [-np.log(0.2), -np.log(0.4)], rtol=1e-6)
    assert found.right.tolist() == [False, True]
    sure = of_scores(Scores(np.array([[0.0, -200.0]], np.float32), np.array([0])), ("x",), ("a", "b"))
    assert f"{sure.loss[0]:.2f}" == "0.00"


def test_a_network_that_gives_no_numbers_is_refused():
    log_scores = np.array([[0.0, -9.0], [np.nan, np.nan]], np.float32)
    with pytest.raises(InputError, match=r"no numbers \(NaN\) for 1 of 2 images; its weights are damaged"):
        of_scores(Scores(log_scores, np.array([0, 1])), ("x", "y"), ("a", "b"))


def test_those_of_a_report_are_not_replaced_by_a_comparison(network, predicted, tmp_path):
    found, subject = predicted
    write_predictions(tmp_path, found, subject | {"views": "flip"})  # a report with other options
    before = (tmp_path / "predictions.csv").read_bytes()
    images = image_set(network)
    source = open_set(images, network, 16)
    again = predictions_of(network, source, images, tmp_path, replace=False, num_workers=0)
    np.testing.assert_array_equal(again.predicted, found.predicted)
    assert (tmp_path / "predictions.csv").read_bytes() == before
    assert read_predictions(tmp_path, subject, CLASSES) is None
    predictions_of(network, source, images, tmp_path, num_workers=0)
    assert read_predictions(tmp_path, subject, CLASSES) is not None


def test_they_amount_to_the_evaluation_and_to_single_predictions(network, predicted):
    found, _ = predicted
    whole = evaluate(network, num_workers=0)
    assert found.right.mean() == pytest.approx(whole["top1"])
    assert found.loss.mean() == pytest.approx(whole["loss"], rel=1e-5)
    assert len(found.names) == whole["num_examples"] == 11
    folder = network.run.data_dir
    answers = predict(network, [f"{folder}/{name}" for name in found.names])
    for answer, k, p in zip(answers, found.predicted, found.probability, strict=True):
        best = answer["classes"][0]
        assert best["class"] == found.class_names[k]
        assert best["probability"] == pytest.approx(p, abs=1e-5)


def test_names_are_below_the_folder_of_the_data(predicted):
    found, _ = predicted
    assert f"val/{CLASSES[1]}/{ODD_FILE}" in found.names
    assert found.class_names == tuple(sorted(CLASSES))


def test_names_in_a_prepared_set_are_those_in_its_copy(network, tmp_path):
    prepare.main([f"--data_dir={network.run.data_dir}", f"--out={tmp_path / 'out'}", "--splits=val", "--num_workers=0"])
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    found = []
    for folder in ("out", "copy"):
        images = image_set(network, dataset="prepared", data_dir=str(tmp_path / folder))
        found.append(names_of(open_set(images, network, 16), images))
    assert found[0] == found[1]
    assert found[0][0].startswith("val example 0 (")


def test_a_table_is_read_as_it_was_written(tmp_path, predicted):
    found, subject = predicted
    path = write_predictions(tmp_path, found, subject)
    again = read_predictions(tmp_path, subject, found.class_names)
    assert again is not None
    assert again.names == found.names
    np.testing.assert_array_equal(again.label, found.label)
    np.testing.assert_array_equal(again.predicted, found.predicted)
    np.testing.assert_allclose(again.probability, found.probability, rtol=1e-5)
    np.testing.assert_allclose(again.loss, found.loss, rtol=1e-5)
    with path.open(newline="") as file:
        first = next(csv.DictReader(file))
    assert first["label"] == found.class_names[found.label[0]]


def test_a_table_of_anything_else_is_not_read(tmp_path, network, predicted):
    found, subject = predicted
    assert read_predictions(tmp_path, subject, found.class_names) is None  # there is none
    path = write_predictions(tmp_path, found, subject)
    images = image_set(network)
    source = open_set(images, network, 16)
    training = image_set(network, split="train")
    moved = jax.tree.map(lambda leaf: leaf + 1e-3, network.variables)
    others = [
        subject_of(dataclasses.replace(network, variables=moved), source, images),
        subject_of(dataclasses.replace(network, views="flip"), source, images),
        subject_of(network, open_set(training, network, 16), training),
        subject_of(dataclasses.replace(network, preprocessing=network.preprocessing.at_size(24)), source, images),
    ]
    for other in others:
        assert read_predictions(tmp_path, other, found.class_names) is None
    assert subject_of(network, source, images) == subject
    assert isinstance(source, FolderSource)
    picture = source.path(0)
    content, times = picture.read_bytes(), picture.stat()
    picture.write_bytes(content + b"0")  # another picture of the same name
    assert read_predictions(tmp_path, subject_of(network, source, images), found.class_names) is None
    picture.write_bytes(content)
    os.utime(picture, ns=(times.st_atime_ns, times.st_mtime_ns))
    path.write_text(path.read_text().replace(",0.", ",1."))  # edited
    assert read_predictions(tmp_path, subject, found.class_names) is None
    write_predictions(tmp_path, found, subject)
    (tmp_path / "predictions.json").write_text(json.dumps({"damaged": True})[:9])
    assert read_predictions(tmp_path, subject, found.class_names) is None
