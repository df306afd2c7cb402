"""The digest of a source's examples."""

import dataclasses

import numpy as np
import pytest

from resnet_jax.data.prepared.write import Encoding, prepare
from resnet_jax.data.sources.folder import folder_source
from resnet_jax.data.sources.load import load_source
from resnet_jax.data.sources.prepared import prepared_source
from resnet_jax.data.sources.source import ArraySource, example_digest, labels_of


def array_source() -> ArraySource:
    images = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), np.uint8)
    return ArraySource(images, np.array([0, 1, 0, 1], np.int32), ("a", "b"), 4)


def test_the_digest_of_an_array_set_is_one_of_its_content():
    source = array_source()
    digest = example_digest(source)
    assert digest.startswith("sha256:")
    assert digest == example_digest(array_source())
    changed = source.images.copy()
    changed[3, 4, 5, 2] ^= 1
    others = [
        dataclasses.replace(source, images=changed),
        dataclasses.replace(source, labels=source.labels[::-1].copy()),
        dataclasses.replace(source, class_names=("a", "c")),
        dataclasses.replace(source, length=8),
        dataclasses.replace(source, images=source.images.reshape(4, 6, 5, 3)),
    ]
    assert len({digest, *map(example_digest, others)}) == 6


def test_the_digest_of_a_folder_is_one_of_its_names_and_moves_with_it(write_folder, tmp_path):
    root = write_folder({"data/train/a": 2, "data/train/b": 2}) / "data"
    digest = example_digest(folder_source("train", str(root)))
    moved = root.rename(tmp_path / "moved")
    assert example_digest(folder_source("train", str(moved))) == digest
    file = moved / "train" / "a" / "1.png"
    renamed = file.rename(file.with_name("7.png"))
    assert example_digest(folder_source("train", str(moved))) != digest
    renamed.rename(moved / "train" / "b" / "1_.png")  # as many files, under another class
    assert example_digest(folder_source("train", str(moved))) != digest


def test_the_digest_of_a_prepared_set_is_one_of_its_shards(write_folder, tmp_path):
    root = write_folder({"data/train/a": 3, "data/train/b": 1}) / "data"
    digests = []
    for number, quality in enumerate((90, 90, 50)):
        out = tmp_path / f"out{number}"
        prepare("folder", str(root), out, Encoding(short_side=16, quality=quality), ("train",))
        digests.append(example_digest(prepared_source("train", str(out))))
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("name", ["digits", "fake"])
def test_the_splits_of_a_set_differ(name):
    assert example_digest(load_source(name, "train", None, 8)) != example_digest(load_source(name, "val", None, 8))


def test_labels_are_those_of_all_examples_however_a_set_holds_them(write_folder, tmp_path):
    source = array_source()
    assert labels_of(source) is source.labels
    assert labels_of(dataclasses.replace(source, length=7)).tolist() == [0, 1, 0, 1, 0, 1, 0]
    root = write_folder({"data/train/a": 2, "data/train/b": 3, "data/val/a": 1, "data/val/b": 1}) / "data"
    prepare("folder", str(root), tmp_path / "out", Encoding())
    labels = labels_of(prepared_source("train", str(tmp_path / "out")))
    assert (labels.tolist(), labels.dtype) == ([0, 0, 1, 1, 1], np.int32)
