import dataclasses
import pickle
import subprocess
import sys

import numpy as np
import pytest

from resnet_jax.data.sources.cifar import PUBLISHED
from resnet_jax.data.sources.cifar_files import MD5, PIXELS, read_files
from resnet_jax.data.sources.load import load_source
from resnet_jax.data.sources.source import ArraySource
from resnet_jax.errors import InputError

CIFAR100 = PUBLISHED["cifar100"]


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_reads_the_binary_records(tmp_path, name):
    version = PUBLISHED[name].versions[0]
    version = dataclasses.replace(version, files={"train": ("0.bin", "1.bin")})
    assert version.label_bytes is not None
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32, 3), np.uint8)  # two files of three records
    for number, part in enumerate(images):
        labels = np.zeros((3, version.label_bytes), np.uint8)
        labels[:, 0] = 19  # CIFAR-100's superclass, which is not the label
        labels[:, -1] = [number, 1, 2]
        planes = part.transpose(0, 3, 1, 2).reshape(3, PIXELS)
        (tmp_path / f"{number}.bin").write_bytes(np.concatenate([labels, planes], axis=1).tobytes())
    pixels, classes = read_files(tmp_path, version, "train", records=3)
    np.testing.assert_array_equal(pixels, images.reshape(6, 32, 32, 3))
    assert classes.tolist() == [0, 1, 2, 1, 1, 2]


def pickled(content: object, protocol: int = 2) -> bytes:
    return pickle.dumps(content, protocol=protocol)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    ("name", "key", "file"), [("cifar10", b"labels", "test_batch"), ("cifar100", b"fine_labels", "test")]
)
def test_reads_the_python_version(tmp_path, monkeypatch, name, key, file, protocol):
    monkeypatch.setitem(PUBLISHED, name, dataclasses.replace(PUBLISHED[name], records={"train": 2, "val": 2}))
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    content = {b"data": images.transpose(0, 3, 1, 2).reshape(2, PIXELS), key: [3, 7], b"filenames": [b"a", b"b"]}
    (tmp_path / file).write_bytes(pickled(content, protocol))
    source = load_source(name, "val", str(tmp_path), 0)
    assert isinstance(source, ArraySource)
    np.testing.assert_array_equal(source.images, images)
    assert source.labels.tolist() == [3, 7]


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("malicious", r"test_batch is refused \(it wants to run (io|_io)\.open"),
        (b"not a pickle", r"test_batch is (refused|damaged)"),
        (pickled({b"data": np.zeros((1, 3), np.uint8), b"labels": [0]}), "of another set"),
        (pickled({b"labels": [0]}), r"test_batch is damaged \(KeyError\)"),
        (pickled({b"data": np.zeros((1, 3), np.uint8)})[:-20], r"test_batch is (refused|damaged)"),
    ],
)
def test_pickles_run_no_code(tmp_path, content, says):
    sentinel = tmp_path / "ran"
    data = pickled({b"data": Malicious(str(sentinel)), b"labels": [0]}) if content == "malicious" else content
    (tmp_path / "test_batch").write_bytes(data)
    with pytest.raises(InputError, match=says) as caught:
        load_source("cifar10", "val", str(tmp_path), 0)
    assert "unpack cifar-10-python.tar.gz again, or the binary version" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not sentinel.exists()


def test_files_that_are_not_as_published_are_named(tmp_path, capsys):
    version = PUBLISHED["cifar10"].versions[0]
    (tmp_path / "test_batch.bin").write_bytes(bytes(1 + PIXELS))
    read_files(tmp_path, version, "val", records=1)
    line = capsys.readouterr().err
    assert "test_batch.bin is not the published file" in line
    assert MD5["cifar-10-batches-bin/test_batch.bin"] in line
    assert line.count("\n") == 1


@pytest.mark.parametrize(("name", "count"), [("cifar10", 10), ("cifar100", 100)])
def test_class_names(name, count):
    names = PUBLISHED[name].class_names
    assert len(set(names)) == count
    assert list(names) == sorted(names)  # both sets number their classes by the alphabet


@pytest.mark.parametrize("inside", ["", "cifar-100-binary"])
def test_is_found_in_data_dir_or_the_archives_folder(tmp_path, monkeypatch, inside):
    monkeypatch.setitem(PUBLISHED, "cifar100", dataclasses.replace(CIFAR100, records={"train": 2, "val": 1}))
    (tmp_path / inside).mkdir(exist_ok=True)
    (tmp_path / inside / "test.bin").write_bytes(bytes(2 + PIXELS))
    assert len(load_source("cifar100", "val", str(tmp_path), 0)) == 1


def test_a_file_of_another_size_is_refused(tmp_path):
    (tmp_path / "test.bin").write_bytes(bytes(100))
    with pytest.raises(InputError, match=r"test\.bin has 100 bytes instead of 30740000; unpack .* again"):
        load_source("cifar100", "val", str(tmp_path), 0)


def test_a_missing_part_is_named(tmp_path):
    version = PUBLISHED["cifar10"].versions[0]
    (tmp_path / version.files["train"][0]).write_bytes(bytes(1 + PIXELS))
    with pytest.raises(InputError, match=r"data_batch_2\.bin is missing"):
        read_files(tmp_path, version, "train", records=1)


def test_a_label_out_of_range_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(PUBLISHED, "cifar100", dataclasses.replace(CIFAR100, records={"train": 1, "val": 1}))
    (tmp_path / "test.bin").write_bytes(bytes([0, 100]) + bytes(PIXELS))
    with pytest.raises(InputError, match="example 0 has label 100"):
        load_source("cifar100", "val", str(tmp_path), 0)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_says_where_to_get_it(tmp_path, name):
    with pytest.raises(InputError, match=r"cifar-100?-binary\.tar\.gz .*https://www\.cs\.toronto\.edu") as caught:
        load_source(name, "train", str(tmp_path), 0)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_real_set(real_data, tmp_path, capsys):
    subprocess.run([sys.executable, real_data / "unpack_cifar10.py", tmp_path], check=True, capture_output=True)
    train, val = (load_source("cifar10", split, str(tmp_path), 0) for split in ("train", "val"))
    assert isinstance(train, ArraySource)
    assert isinstance(val, ArraySource)
    assert (len(train), len(val)) == (50_000, 10_000)
    assert np.bincount(train.labels).tolist() == [5000] * 10
    assert "not the published file" not in capsys.readouterr().err
    # The channel means that the literature subtracts.
    mean = train.images[:, ::2, ::2].mean((0, 1, 2)) / 255
    np.testing.assert_allclose(mean, (0.4914, 0.4822, 0.4465), atol=2e-3)
    assert val[0].label == 3  # the cat that opens the test set
