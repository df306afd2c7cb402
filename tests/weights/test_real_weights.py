"""Weights that others trained, through the commands: their published accuracies on every image of the test set."""

import json

import numpy as np
import pytest

from experiments import convert, evaluate, predict
from resnet_jax import cli
from resnet_jax.data.sources.cifar import CIFAR10
from resnet_jax.data.sources.imagenet_classes import wnids
from tests.real_data import REAL
from tests.weights.reading import read_tensors


def printed(main, capsys, *argv):
    with pytest.raises(SystemExit) as left:
        cli.run_command(main, [str(a) for a in argv])
    out = capsys.readouterr()
    assert left.value.code == 0, out.err
    return out.out


@pytest.fixture(scope="module")
def cifar10(tmp_path_factory):
    """The test set in its binary form, from the lossless sheets."""
    import subprocess
    import sys

    unpack = REAL / "unpack_cifar10.py"
    if not unpack.exists():
        pytest.skip(f"no CIFAR-10 at {REAL} (set RESNET_JAX_TEST_DATA)")
    folder = tmp_path_factory.mktemp("cifar10")
    subprocess.run([sys.executable, str(unpack), str(folder)], check=True, capture_output=True)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("depth", "name", "top1"), [(20, "resnet20-12fca82f", 0.9173), (32, "resnet32-d509ac18", 0.9263)]
)
def test_published_accuracy_on_cifar10(depth, name, top1, real_weights, cifar10, capsys):
    options = (f"--model=resnet{depth}_cifar", f"--weights={real_weights}/{name}.th", "--dataset=cifar10")
    result = json.loads(printed(evaluate.main, capsys, *options, f"--data_dir={cifar10}", "--json"))
    assert result["num_examples"] == 10_000
    assert result["top1"] == pytest.approx(top1, abs=0.0005)


def test_the_way_to_a_file_of_ours_and_back_to_torch_keeps_every_bit(real_weights, tmp_path, capsys):
    original = real_weights / "resnet20-12fca82f.th"
    printed(convert.main, capsys, original, "--model=resnet20_cifar", f"--out={tmp_path}/ours.safetensors")
    # The name of the weights travels with them, and with it their preprocessing and classes.
    images = sorted((REAL / "imagenet-raw-64").glob("*.JPEG"))[:1] or sorted(REAL.glob("hymenoptera/val/*/*.jpg"))[:1]
    options = ("--model=resnet20_cifar", f"--weights={tmp_path}/ours.safetensors", "--json")
    (answer,) = json.loads(printed(predict.main, capsys, *options, *images))
    assert {entry["class"] for entry in answer["classes"]} < set(CIFAR10.split())
    printed(
        convert.main,
        capsys,
        tmp_path / "ours.safetensors",
        "--model=resnet20_cifar",
        "--to=torch",
        f"--out={tmp_path}/torch.npz",
    )
    before, after = read_tensors(original), read_tensors(tmp_path / "torch.npz")
    assert before.keys() <= after.keys()
    assert all(name in before or name.endswith("num_batches_tracked") for name in after)
    for name, tensor in before.items():
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(after[name], tensor)


@pytest.mark.slow
def test_keras_resnet50_names_what_is_on_most_images(keras_resnet50, real_images, capsys):
    images = sorted(real_images.glob("*/*.JPEG"))[7::100]
    options = ("--model=resnet50_v1", f"--weights={keras_resnet50}", "--json")
    answers = json.loads(printed(predict.main, capsys, *options, *images))
    classes = [[entry["class"] for entry in answer["classes"]] for answer in answers]
    assert all(name in wnids() for names in classes for name in names)
    right = sum(image.parent.name in names for image, names in zip(images, classes, strict=True))
    assert len(images) == 10
    assert right >= 8


@pytest.mark.slow
def test_keras_resnet50_on_one_image_of_every_class(keras_resnet50, real_images, capsys):
    options = ("--model=resnet50_v1", f"--weights={keras_resnet50}", "--dataset=folder", f"--data_dir={real_images}")
    result = json.loads(printed(evaluate.main, capsys, *options, "--num_workers=0", "--json"))
    assert result["num_examples"] == 1000
    # 91.0 and 98.5 % on the originals, of which these are smaller copies. Probably training images, so that this is no
    # validation score. Half an image in a thousand: the figure of README.
    assert result["top1"] == pytest.approx(0.906, abs=0.0005)
    assert result["top5"] == pytest.approx(0.985, abs=0.01)
