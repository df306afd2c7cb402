"""Ten crops, whole images at several scales and ensembles on photographs of odd sizes, against one image at a time."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import Mesh
from PIL import Image

from experiments.evaluate import Options, networks_of
from resnet_jax.config.options import Config
from resnet_jax.data.preprocessing import Preprocessing
from resnet_jax.data.sources.load import ArraySource, load_source
from resnet_jax.errors import InputError
from resnet_jax.evaluation import evaluate as evaluation
from resnet_jax.evaluation.evaluate import evaluate
from resnet_jax.evaluation.precise_bn import with_precise_stats
from resnet_jax.inference.trained import Trained
from resnet_jax.layers.norm import BatchNorm

SIZES = [(40, 53), (53, 40), (33, 33), (30, 61), (40, 53), (36, 45), (37, 44), (60, 40), (31, 32), (40, 60), (29, 90)]
CLASSES = ("a", "b", "c", "d", "e", "f")


class Toy(nn.Module):
    """Fully convolutional, and not blind to left and right."""

    num_classes: int = len(CLASSES)

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        edges = x[:, :, 1:] - 0.5 * x[:, :, :-1]
        return nn.Dense(self.num_classes)(jnp.tanh(nn.Dense(4)(edges)).mean(axis=(1, 2)))


class OneSize(Toy):
    """Takes images of one size alone."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        return nn.Dense(self.num_classes)(x.reshape(len(x), -1))


def toy(root, seed=0, size=16, mean=(0.5,) * 3, model=None):
    model = model or Toy()
    variables = jax.jit(model.init)(jax.random.key(seed), jnp.zeros((1, size, size, 3)))
    variables = jax.tree.map(lambda leaf: leaf * 4, variables)
    preprocessing = Preprocessing(size, size + 5, mean, (0.3,) * 3)
    run = Config(model="toy", dataset="folder", data_dir=str(root))
    return Trained("toy", model, variables, preprocessing, CLASSES, "toy", dataset="folder", run=run)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for index, (height, width) in enumerate(SIZES):
        path = folder / CLASSES[index % 6]
        path.mkdir(exist_ok=True)
        shades = rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)
        Image.fromarray(shades).resize((width, height), Image.Resampling.BICUBIC).save(path / f"{index}.png")
    return folder


@pytest.fixture(params=[1, 8])
def devices(request, monkeypatch):
    mesh = Mesh(np.array(jax.devices()[: request.param]), ("data",))
    monkeypatch.setattr(evaluation, "data_mesh", lambda: mesh)


def images_and_labels(root):
    for label, name in enumerate(CLASSES):
        for path in sorted((root / name).iterdir()):
            yield Image.open(path), label


def scores_of(network, image):
    """Softmax of the network's answer to one picture, in numpy."""
    x = np.asarray(image).astype(np.float64) / 255
    x = (x - np.array(network.preprocessing.mean)) / np.array(network.preprocessing.std)
    first, second = (jax.tree.map(np.asarray, network.variables["params"][f"Dense_{i}"]) for i in (1, 0))
    edges = x[:, 1:] - 0.5 * x[:, :-1]
    hidden = np.tanh(edges @ first["kernel"] + first["bias"]).mean(axis=(0, 1))
    logits = hidden @ second["kernel"] + second["bias"]
    return np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()


def with_mirror_image(network, image):
    return (scores_of(network, image) + scores_of(network, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))) / 2


def shorter_side(image, short):
    width, height = image.size
    new = (short, int(short * height / width)) if width < height else (int(short * width / height), short)
    return image.resize(new, Image.Resampling.BILINEAR)


def ten_crop(network, image):
    image, size = shorter_side(image, network.preprocessing.resize), network.preprocessing.image_size
    right, bottom = image.width - size, image.height - size
    boxes = [(0, 0), (right, 0), (0, bottom), (right, bottom), (round(right / 2), round(bottom / 2))]
    crops = [image.crop((left, top, left + size, top + size)) for left, top in boxes]
    return np.mean([with_mirror_image(network, crop) for crop in crops], axis=0)


def multi_scale(network, image, scales):
    ratios = np.array([1, 9 / 8, 5 / 4, 4 / 3, 3 / 2, 5 / 3, 2, 5 / 2, 3, 4])
    ratio = ratios[np.abs(np.log(ratios * min(image.size) / max(image.size))).argmin()]
    scores = []
    for short in scales:
        shape = (short, round(short * ratio))
        scores.append(with_mirror_image(network, image.resize(shape if image.width < image.height else shape[::-1], 2)))
    return np.mean(scores, axis=0)


def center(network, image):
    image, size = shorter_side(image, network.preprocessing.resize), network.preprocessing.image_size
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    return scores_of(network, image.crop((left, top, left + size, top + size)))


def expected(root, say):
    hits, losses = [], []
    for image, label in images_and_labels(root):
        scores = say(image)
        hits.append(scores.argmax() == label)
        losses.append(-np.log(scores[label]))
    return np.mean(hits), np.mean(losses)


def assert_result(result, root, say):
    top1, loss = expected(root, say)
    assert result["num_examples"] == len(SIZES)
    assert result["top1"] == pytest.approx(top1)
    assert result["loss"] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("batch_size", [7, 64])
def test_ten_crops(root, devices, batch_size):
    network = toy(root)
    result = evaluate(network, protocol="ten_crop", batch_size=batch_size, num_workers=0)
    assert_result(result, root, lambda image: ten_crop(network, image))


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [7, 64])
def test_whole_images_at_several_scales(root, devices, batch_size):
    network, scales = toy(root), (12, 17)
    result = evaluate(network, protocol="multi_scale", scales=scales, batch_size=batch_size, num_workers=0)
    assert_result(result, root, lambda image: multi_scale(network, image, scales))


@pytest.mark.slow
def test_an_ensemble_of_networks_of_other_sizes_and_normalizations(root, devices):
    networks = [toy(root), toy(root, seed=1, size=13, mean=(0.4, 0.5, 0.6)), toy(root, seed=2)]
    result = evaluate(networks, batch_size=4, num_workers=0)
    assert_result(result, root, lambda image: np.mean([center(network, image) for network in networks], axis=0))


@pytest.mark.slow
def test_in_an_ensemble_each_network_weighs_the_same_at_all_its_scales(root):
    networks, scales = [toy(root), toy(root, seed=1)], (12, 17)
    result = evaluate(networks, protocol="multi_scale", scales=scales, batch_size=9, num_workers=0)
    assert_result(result, root, lambda image: np.mean([multi_scale(n, image, scales) for n in networks], axis=0))


def test_an_empty_list_of_networks_is_refused():
    with pytest.raises(InputError, match="no network to evaluate"):
        evaluate([])


def test_protocols_that_a_network_cannot_have_are_refused(root):
    network = toy(root)
    with pytest.raises(InputError, match=r"--protocol=twelve_crop: .*flip_translate, ten_crop, multi_scale"):
        evaluate(network, protocol="twelve_crop", num_workers=0)  # pyrefly: ignore
    for scales in ((), (0, 8), (8, 8)):
        with pytest.raises(InputError, match=r"--scales .*each once"):
            evaluate(network, protocol="multi_scale", scales=scales, num_workers=0)
    with pytest.raises(InputError, match=r"toy does not take images of 12 x 24 pixels .*ten_crop"):
        evaluate(toy(root, model=OneSize()), protocol="multi_scale", scales=(12,), num_workers=0)
    other = dataclasses.replace(network, class_names=("z", *CLASSES[1:]))
    with pytest.raises(InputError, match="has a class 'a' where the network has 'z'"):
        evaluate([network, other], num_workers=0)
    with pytest.raises(InputError, match="precise_bn goes with runs"):
        with_precise_stats(dataclasses.replace(network, run=None), 100)
    for protocol in ("", "ten_crop", "multi_scale"):
        with pytest.raises(InputError, match="--batch_size=-1 must be at least 1"):
            evaluate(network, protocol=protocol, batch_size=-1, num_workers=0)
    small = dataclasses.replace(network.preprocessing, image_size=8, resize=8)
    digits = dataclasses.replace(network, preprocessing=small, model=Toy(num_classes=10), class_names=None)
    with pytest.raises(InputError, match="no corners beside a crop of 8; take --resize=9"):
        evaluate(digits, protocol="ten_crop", dataset="digits", num_workers=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ensemble": ("a",)}, "name two networks or more"),
        ({"ensemble": ("missing", "resnet20_cifar:x")}, "missing: there is no such folder"),
        ({"ensemble": ("a", "b"), "workdir": "c", "resize": 3}, "--workdir, --resize: not with --ensemble"),
        ({"workdir": "a", "scales": (3,)}, "--scales goes with --protocol=multi_scale"),
        ({"workdir": "a", "tile_margin": 8}, "--tile_margin is for tiles, --tile=512; leave it out"),
        ({"workdir": "a", "protocol": "multi_scale", "resize": 9}, "--resize is not for --protocol=multi_scale, which"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        networks_of(Options(**options))


class Normalized(nn.Module):
    """A batch normalization of the images themselves, before a head."""

    num_classes: int = 10
    bn_group_size: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = BatchNorm(use_running_average=not train, name="norm")(x)
        return nn.Dense(self.num_classes)(x.mean(axis=(1, 2)))


def test_a_run_gets_the_statistics_of_its_training_images():
    model = Normalized()
    variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    config = Config(
        workdir="a-run", dataset="digits", image_size=0, batch_size=30, crop_padding=0, mean=(0.0,) * 3, std=(1.0,) * 3
    )
    trained = Trained("toy", model, variables, Preprocessing(8, 8), None, "a-run", dataset="digits", run=config)
    # 30 become 32 on 8 devices, and 1,437 images 45 batches: the first epoch and 3 images of the second.
    found = with_precise_stats(trained, 1437, num_workers=0).variables["batch_stats"]["norm"]
    digits = load_source("digits", "train", None, 0)
    assert isinstance(digits, ArraySource)
    pixels = digits.images / 255
    np.testing.assert_allclose(found["mean"], pixels.mean(axis=(0, 1, 2)), rtol=2e-3)
    np.testing.assert_allclose(found["var"], pixels.var(axis=(0, 1, 2)), rtol=2e-3)
    with pytest.raises(InputError, match="--precise_bn=-1: take the number"):
        with_precise_stats(trained, -1)


def test_a_photograph_that_cannot_be_read_is_named_and_left_out_of_the_statistics(tmp_path, capsys):
    for index in range(8):
        (tmp_path / "train" / "a").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (10 * index,) * 3).save(tmp_path / "train" / "a" / f"{index}.png")
    (tmp_path / "train" / "a" / "7.png").write_bytes(b"")  # would have been 70
    model = Normalized(num_classes=1)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    config = Config(
        workdir="a-run",
        dataset="folder",
        data_dir=str(tmp_path),
        image_size=8,
        batch_size=8,
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
    )
    trained = Trained("toy", model, variables, Preprocessing(8, 8), ("a",), "a-run", dataset="folder", run=config)
    found = with_precise_stats(trained, 8, num_workers=0).variables["batch_stats"]["norm"]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("skipped")]
    assert len(lines) == 1
    assert "skipped an image that cannot be read, 1 so far: " in lines[0]
    assert "a/7.png" in lines[0]
    # Seven images, of which the one that stands next to it in the order stands there twice.
    values = [[10 * index / 255 for index in (*range(7), twice)] for twice in range(7)]
    assert min(abs(np.mean(v) - found["mean"][0]) + abs(np.var(v) - found["var"][0]) for v in values) < 1e-5
