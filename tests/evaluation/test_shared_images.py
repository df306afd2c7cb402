"""Training images among those that a network is evaluated on."""

import shutil
from dataclasses import replace
from pathlib import Path

from resnet_jax.evaluation.image_set import changed_since_training, image_set, open_set
from resnet_jax.evaluation.shared_images import open_training_images, shared_images
from resnet_jax.inference.trained import load_trained

from .conftest import CLASSES


def test_training_images_are_known_by_any_path_to_them(odd_run, tmp_path, monkeypatch):
    trained = load_trained(odd_run)
    own = Path(trained.run.data_dir)
    (tmp_path / "link").symlink_to(own)
    monkeypatch.chdir(own.parent)
    for folder in (str(tmp_path / "link"), own.name):
        images = image_set(trained, data_dir=folder, split="train")
        source = open_set(images, trained, 16)
        found = shared_images(trained, source, images, [str(k) for k in range(len(source))])
        assert found.left_out == "These are the training images themselves."
        part = replace(trained, facts={**trained.facts, "num_train": 99})
        assert "where the training had 99: another set" in changed_since_training(images, part, source)


def test_the_training_images_are_those_of_the_run_wherever_the_evaluated_ones_lie(odd_run, tmp_path):
    """A folder of the same kind may have training images of its own, which the network has not seen."""
    trained = load_trained(odd_run)
    own = Path(trained.run.data_dir)
    other = tmp_path / "other"
    for name in CLASSES:
        for split in ("train", "val"):  # what is evaluated are the run's training images
            shutil.copytree(own / "train" / name, other / split / name)
    (other / "train" / CLASSES[0] / "3.png").rename(other / "train" / CLASSES[0] / "x.png")
    images = image_set(trained, data_dir=str(other), split="val")
    source = open_set(images, trained, 16)
    names = [str(k) for k in range(len(source))]
    found = shared_images(trained, source, images, names)
    assert found.num_images == len(source)
    assert str(open_training_images(trained, images)[0].data_dir) == str(own)
    gone = replace(trained, run=replace(trained.run, data_dir=str(tmp_path / "gone")))
    assert "are gone, and" in shared_images(gone, source, images, names).left_out
    (other / "train" / CLASSES[0] / "x.png").rename(other / "train" / CLASSES[0] / "3.png")
    assert shared_images(gone, source, images, names).num_images == len(source)
