import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from resnet_jax.data.sources.cifar import LAYOUTS, PIXELS, read_binary
from resnet_jax.data.sources.load import load_source
from resnet_jax.data.sources.source import ArraySource
from resnet_jax.errors import InputError

CIFAR100 = LAYOUTS["cifar100"]


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_reads_the_binary_records(tmp_path, name):
    layout = LAYOUTS[name]
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32, 3), np.uint8)  # two files of three records
    paths = []
    for number, part in enumerate(images):
        labels = np.zeros((3, layout.label_bytes), np.uint8)
        labels[:, 0] = 19  # CIFAR-100's superclass, which is not the label
        labels[:, -1] = [number, 1, 2]
        planes = part.transpose(0, 3, 1, 2).reshape(3, PIXELS)
        paths.append(tmp_path / f"{number}.bin")
        paths[-1].write_bytes(np.concatenate([labels, planes], axis=1).tobytes())
    source = read_binary(paths, layout, records=3)
    np.testing.assert_array_equal(source.images, images.reshape(6, 32, 32, 3))
    assert source.labels.tolist() == [0, 1, 2, 1, 1, 2]


@pytest.mark.parametrize(("name", "count"), [("cifar10", 10), ("cifar100", 100)])
def test_class_names(name, count):
    names = LAYOUTS[name].class_names
    assert len(set(names)) == count
    assert list(names) == sorted(names)  # both sets number their classes by the alphabet


@pytest.mark.parametrize("inside", ["", "cifar-100-binary"])
def test_is_found_in_data_dir_or_the_archives_folder(tmp_path, monkeypatch, inside):
    monkeypatch.setitem(LAYOUTS, "cifar100", dataclasses.replace(CIFAR100, records={"train": 2, "val": 1}))
    (tmp_path / inside).mkdir(exist_ok=True)
    (tmp_path / inside / "test.bin").write_bytes(bytes(2 + PIXELS))
    assert len(load_source("cifar100", "val", str(tmp_path), 0)) == 1


def test_a_file_of_another_size_is_refused(tmp_path):
    (tmp_path / "test.bin").write_bytes(bytes(100))
    with pytest.raises(InputError, match=r"test\.bin has 100 bytes instead of 30740000; unpack .* again"):
        load_source("cifar100", "val", str(tmp_path), 0)


def test_a_missing_part_is_named(tmp_path):
    layout = LAYOUTS["cifar10"]
    paths = [tmp_path / name for name in layout.files["train"]]
    paths[0].write_bytes(bytes(1 + PIXELS))
    with pytest.raises(InputError, match=r"data_batch_2\.bin is missing"):
        read_binary(paths, layout, records=1)


def test_a_label_out_of_range_is_refused(tmp_path):
    (tmp_path / "test.bin").write_bytes(bytes([0, 100]) + bytes(PIXELS))
    with pytest.raises(InputError, match="example 0 has label 100"):
        read_binary([tmp_path / "test.bin"], CIFAR100, records=1)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_says_where_to_get_it(tmp_path, name):
    with pytest.raises(InputError, match=r"cifar-100?-binary\.tar\.gz .*https://www\.cs\.toronto\.edu") as caught:
        load_source(name, "train", str(tmp_path), 0)
    assert "\n" not in str(caught.value)


def test_the_real_set(real_data, tmp_path):
    subprocess.run([sys.executable, real_data / "unpack_cifar10.py", tmp_path], check=True, capture_output=True)
    train, val = (load_source("cifar10", split, str(tmp_path), 0) for split in ("train", "val"))
    assert isinstance(train, ArraySource)
    assert isinstance(val, ArraySource)
    assert (len(train), len(val)) == (50_000, 10_000)
    assert np.bincount(train.labels).tolist() == [5000] * 10
    # The channel means that the literature subtracts.
    mean = train.images[:, ::2, ::2].mean((0, 1, 2)) / 255
    np.testing.assert_allclose(mean, (0.4914, 0.4822, 0.4465), atol=2e-3)
    assert val[0].label == 3  # the cat that opens the test set
