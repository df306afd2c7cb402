"""The measurement of the input pipeline: its crops are the same ones for all, and it says what it measured."""

import json
import shutil
import sys
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from PIL import Image

from experiments import benchmark
from resnet_jax.benchmark import input_pipeline as module
from resnet_jax.cli import run_command
from resnet_jax.data.augment.opencv_resize import opencv
from resnet_jax.data.augment.transform import TrainTransform
from resnet_jax.data.prepared.write import Encoding, prepare


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(3):
        noise = Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8))
        noise.resize((60, 50)).save(tmp_path / f"{number}.jpg", quality=95)
    return tmp_path


def test_the_contenders_make_the_same_crops(images):
    source = module.encoded_images(str(images))
    assert not source.intact
    assert len(source) == 3
    ours = module.our_batch(source, module.OURS["resnet_jax"], 16, epoch=1)
    np.testing.assert_array_equal(module.pillow_batch(source.files, 16, epoch=1), ours)
    assert ours.shape == (3, 16, 16, 3)
    assert not np.array_equal(module.our_batch(source, module.OURS["resnet_jax"], 16, epoch=2), ours)


def test_images_of_a_prepared_set_are_decoded_as_in_training(images, tmp_path_factory):
    root, out = tmp_path_factory.mktemp("pictures"), tmp_path_factory.mktemp("sets") / "prepared"
    for split in ("train", "val"):
        shutil.copytree(images, root / split / "any")
    prepare("folder", str(root), out, Encoding(short_side=32, shard_size=4))
    source = module.encoded_images(str(out))
    assert source.intact
    assert len(source) == 3
    known = []
    transform = SimpleNamespace(from_file=lambda *args: known.append(args[-1]) or np.zeros((16, 16, 3), np.uint8))
    module.our_batch(source, cast(TrainTransform, transform), 16, epoch=1)
    assert known == [True] * 3


def test_it_prints_one_object(images, capsys):
    argv = ["--mode=input", f"--data_dir={images}", "--num_workers=0", "--rounds=2", "--image_size=16"]
    benchmark.main(argv)
    found = json.loads(capsys.readouterr().out)
    assert (found["mode"], found["images"], found["rounds"]) == ("input", 3, 2)
    assert found["images_per_cpu_second"]["resnet_jax"] > 0
    assert found["images_per_cpu_second"]["pillow"] > 0
    assert found["times_pillow"]["resnet_jax"] > 0
    assert set(found["times_tf_data"]) == {"resnet_jax", "resnet_jax_fast"}


def test_a_contender_that_cannot_take_part_says_why(images, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.setattr(module, "find_spec", {"tensorflow": None}.get)
    monkeypatch.setattr(module, "boxes", None)  # they are tf.data's alone
    opencv.cache_clear()
    found = module.measure_input(str(images), 0, rounds=1, image_size=16)
    rates = found["images_per_cpu_second"]
    assert (rates["resnet_jax_fast"], rates["tf_data"]) == ("not installed", "not installed")
    assert found["times_pillow"]["resnet_jax"] > 0
    assert found["times_pillow"]["resnet_jax_fast"] == "not installed"
    assert set(found["times_tf_data"].values()) == {"not installed"}


def test_tf_data_is_left_out_where_an_image_is_no_jpeg(images):
    Image.new("RGB", (20, 20)).save(images / "1.png")
    found = module.measure_input(str(images), 0, rounds=1, image_size=16)
    assert found["images"] == 4
    assert found["images_per_cpu_second"]["tf_data"] == "reads JPEGs alone"
    assert found["times_tf_data"]["resnet_jax"] == "reads JPEGs alone"


def test_of_many_images_evenly_spaced_ones_are_taken(images, monkeypatch):
    assert module.spaced(3) == [0, 1, 2]
    chosen = module.spaced(1000)
    assert len(chosen) == 256
    assert chosen[0] == 0
    assert {*np.diff(chosen)} == {3, 4}
    monkeypatch.setattr(module, "MAX_IMAGES", 2)
    assert module.encoded_images(str(images)).files == tuple((images / f"{k}.jpg").read_bytes() for k in (0, 1))


def test_workers_are_compared_with_one(monkeypatch):
    monkeypatch.setattr(
        module, "wall_rate", lambda source, transform, workers, rounds, size: {1: 50.0, 4: 100.0}[workers]
    )
    assert module.scaling(module.MemorySource(()), module.OURS["resnet_jax"], 4, rounds=3, size=16) == {
        "images_per_second_with_1": 50.0,
        "images_per_second_with_4": 100.0,
        "share_of_ideal": 0.5,
    }


def test_the_first_batches_of_workers_do_not_count(images, monkeypatch):
    now = [0.0]

    def batches(*args, start, stop, num_workers, **options):
        for number in range(start, stop):
            now[0] += 100.0 if number < 4 * num_workers else 0.25
            yield {}

    monkeypatch.setattr(module, "train_batches", batches)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    source = module.encoded_images(str(images))
    assert module.wall_rate(source, module.OURS["resnet_jax"], 2, rounds=3, size=16) == len(source) / 0.25


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["--mode=input"], "--mode=input needs --data_dir=ROOT"),
        (["--mode=input", "--data_dir=/nowhere"], "--data_dir=/nowhere holds no images"),
        (["--mode=input", "--data_dir=/nowhere", "--rounds=0"], "--rounds=0 must be at least 1"),
    ],
)
def test_wrong_options_are_one_line(argv, why, capsys):
    with pytest.raises(SystemExit) as left:
        run_command(benchmark.main, argv)
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert why in error
    assert error.count("\n") == 1
