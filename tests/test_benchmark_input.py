"""The measurement of the input pipeline: its crops are the same ones for all, and it says what it measured."""

import json

import numpy as np
import pytest
from PIL import Image

from experiments import benchmark
from resnet_jax.benchmark import input as module
from resnet_jax.cli import run_command


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(3):
        noise = Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8))
        noise.resize((60, 50)).save(tmp_path / f"{number}.jpg", quality=95)
    return tmp_path


def test_the_contenders_make_the_same_crops(images):
    files = module.encoded_images(str(images))
    assert len(files) == 3
    ours = module.our_batch(files, module.OURS["resnet_jax"], 16, epoch=1)
    np.testing.assert_array_equal(module.pillow_batch(files, 16, epoch=1), ours)
    assert ours.shape == (3, 16, 16, 3)
    assert not np.array_equal(module.our_batch(files, module.OURS["resnet_jax"], 16, epoch=2), ours)


def test_it_prints_one_object(images, capsys):
    argv = ["--mode=input", f"--data_dir={images}", "--num_workers=0", "--rounds=2", "--image_size=16"]
    benchmark.main(argv)
    found = json.loads(capsys.readouterr().out)
    assert (found["mode"], found["images"], found["rounds"]) == ("input", 3, 2)
    assert found["images_per_cpu_second"]["resnet_jax"] > 0
    assert found["images_per_cpu_second"]["pillow"] > 0
    assert found["times_pillow"]["resnet_jax"] > 0
    assert set(found["times_tf_data"]) == {"resnet_jax", "resnet_jax_fast"}


def test_workers_are_measured_in_wall_time(images, monkeypatch):
    monkeypatch.setattr(module, "train_batches", fake_batches)
    files = module.encoded_images(str(images))
    found = module.scaling(files, module.OURS["resnet_jax"], 2, rounds=3, size=16)
    assert found["share_of_ideal"] == pytest.approx(1, abs=0.35)


def fake_batches(*args, num_workers, **options):
    """Batches that take a hundredth of a second, divided by the number of workers."""
    import time

    for _ in range(options["start"], options["stop"]):
        time.sleep(0.02 / num_workers)
        yield {}


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
