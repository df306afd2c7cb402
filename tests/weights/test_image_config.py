"""Preprocessing by what is known of weights, never by their file's name alone."""

import json
from typing import Any

import pytest

from resnet_jax.data.preprocessing import Preprocessing
from resnet_jax.errors import InputError
from resnet_jax.inference.trained import load_trained
from resnet_jax.weights import catalog, hub
from resnet_jax.weights.catalog import BY_NAME, known_weights
from resnet_jax.weights.checksum import vectors_digest
from resnet_jax.weights.formats import write_tensors
from resnet_jax.weights.image_config import preprocessing_beside
from resnet_jax.weights.pretrained import load_pretrained, open_weights, write_weights
from tests.weights.reading import read_tensors

A1 = BY_NAME["timm/resnet50.a1_in1k"]
CFG = {
    "input_size": [3, 224, 224],
    "interpolation": "bicubic",
    "crop_pct": 0.95,
    "mean": [0.1, 0.2, 0.3],
    "std": [0.4, 0.5, 0.6],
}
TRANSFORMERS = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "size": 224}
FACTS = ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bicubic")


def test_a_config_of_transformers_in_the_cache_does_not_hide_the_file_of_its_images(tmp_path, monkeypatch):
    """The library transformers leaves its config.json there, and it says nothing of images."""
    (tmp_path / "config.json").write_text('{"model_type": "resnet"}')
    asked = []

    def fetch(hub_id, name):
        asked.append(name)
        (tmp_path / name).write_text(json.dumps({"pretrained_cfg": CFG} if name == "config.json" else TRANSFORMERS))

    monkeypatch.setattr(hub, "_fetch", fetch)
    hub.download_config("someone/something", tmp_path)
    assert asked == ["preprocessor_config.json"]
    found = preprocessing_beside(tmp_path)
    assert found is not None
    assert found[1] == "preprocessor_config.json"
    hub.download_config("someone/something", tmp_path)
    assert asked == ["preprocessor_config.json"]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"architecture": "resnet50", "pretrained_cfg": CFG}, Preprocessing(224, 235, *FACTS)),
        (CFG, Preprocessing(224, 235, *FACTS)),
        ({"pretrained_cfg": CFG | {"crop_pct": 1.0, "input_size": [3, 288, 288]}}, Preprocessing(288, 288, *FACTS)),
        (
            {"pretrained_cfg": CFG | {"input_size": [3, 160, 160], "test_input_size": [3, 224, 224]}},
            Preprocessing(224, 235, *FACTS),
        ),
        ({"model_type": "resnet", "architectures": ["ResNetForImageClassification"]}, None),
        ({"mean": [0.5] * 3, "std": [0.5] * 3, "image_size": 32, "batch_size": 128}, None),
        ([], None),
    ],
)
def test_timms_config_beside_the_weights(tmp_path, config, expected):
    if config == []:
        assert preprocessing_beside(tmp_path) is None
        return
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert preprocessing_beside(tmp_path) == (expected and (expected, "config.json"))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"size": 224, "crop_pct": 0.875, "resample": 3}, Preprocessing(224, 256, *FACTS)),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.95, "resample": 3}, Preprocessing(224, 235, *FACTS)),
        (
            {"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": {"height": 224}, "resample": 3},
            Preprocessing(224, 256, *FACTS),
        ),
    ],
)
def test_transformers_config_beside_the_weights(tmp_path, config, expected):
    (tmp_path / "config.json").write_text('{"model_type": "resnet"}')
    config |= {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    assert preprocessing_beside(tmp_path) == (expected, "preprocessor_config.json")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        json.dumps(CFG | {"mean": [0.1]}),
        json.dumps(CFG | {"std": [0, 1, 1]}),
        json.dumps(CFG | {"crop_pct": 2}),
        json.dumps(CFG | {"input_size": "big"}),
        json.dumps({"pretrained_cfg": 3}),
        "[]",
    ],
)
def test_a_config_that_makes_no_sense_is_named(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json: its preprocessing makes no sense"):
        preprocessing_beside(tmp_path)


@pytest.mark.parametrize(
    "path",
    [
        "hub/models--timm--resnet50.a1_in1k/snapshots/0123abcd/model.safetensors",
        "hub/models--timm--resnet50.a1_in1k/blobs/" + "ab" * 32,
        "timm/resnet50.a1_in1k/model.safetensors",
        "resnet50.a1_in1k/pytorch_model.bin",
        "downloads/resnet50.a1_in1k.safetensors",
        "downloads/resnet50.a1_in1k.PTH",
    ],
)
def test_a_hubs_folder_tells_the_weights(path):
    assert known_weights(path) is A1


@pytest.mark.parametrize(
    "path", ["resnet50.a1_in1k/mine.safetensors", "models/model.safetensors", "x/models--a--b/m.pth"]
)
def test_other_folders_do_not(path):
    assert known_weights(path) is None


class TestFiles:
    @pytest.fixture
    def path(self, tmp_path, random_variables):
        write_weights(tmp_path / "model.npz", "resnet18", random_variables("resnet18"), layout="torch")
        return tmp_path / "model.npz"

    def test_what_nothing_tells_is_assumed_and_said(self, path):
        weights = open_weights("resnet18", path)
        assert weights.preprocessing == Preprocessing()
        assert weights.lines[-1].endswith("std 0.229 0.224 0.225; from torchvision's usual values (assumed)")

    def test_the_config_beside_the_file_tells_it(self, path):
        (path.parent / "config.json").write_text(json.dumps({"pretrained_cfg": CFG}))
        weights = open_weights("resnet18", path)
        assert weights.preprocessing == Preprocessing(224, 235, *FACTS)
        assert weights.preprocessing_from == "the config.json beside the weights"

    def test_what_nothing_tells_may_be_given(self, path, capsys):
        options: Any = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "interpolation": "bicubic", "image_size": 112}
        trained = load_trained(model="resnet18", weights=path, **options)
        assert trained.preprocessing == Preprocessing(112, 128, (0.5,) * 3, (0.25,) * 3, "bicubic")
        assert (
            "resized to 256 pixels (bicubic), cropped to 224, mean 0.5 0.5 0.5, std 0.25 0.25 0.25; from "
            "--mean 0.5 0.5 0.5 --std 0.25 0.25 0.25 --interpolation bicubic, and torchvision's usual values (assumed)"
        ) in capsys.readouterr().err

    def test_what_contradicts_is_refused(self, path):
        with pytest.raises(InputError, match="divide those to 255 by 255"):
            load_trained(model="resnet18", weights=path, mean=(123.675, 116.28, 103.53))
        with pytest.raises(InputError, match="a run has those of its training"):
            load_trained("RUN", mean=(0.5,) * 3)
        (path.parent / "config.json").write_text(json.dumps({"pretrained_cfg": CFG}))
        load_trained(model="resnet18", weights=path, std=FACTS[1])
        with pytest.raises(
            InputError,
            match=r"--std 0\.2 0\.2 0\.2: these weights need std 0\.4 0\.5 0\.6, from the config",
        ):
            load_trained(model="resnet18", weights=path, std=(0.2,) * 3)

    def test_the_hubs_folder_tells_it(self, path):
        folder = path.parent / "models--timm--resnet18.a1_in1k" / "snapshots" / "0"
        folder.mkdir(parents=True)
        path = path.rename(folder / "model.npz")
        weights = open_weights("resnet18", path)
        assert weights.preprocessing == Preprocessing(resize=235, interpolation="bicubic")
        assert weights.source == "timm/resnet18.a1_in1k"
        assert weights.preprocessing_from == "the catalog's entry for timm/resnet18.a1_in1k"


def test_known_weights_are_known_under_every_name(tmp_path, monkeypatch, random_variables):
    variables = random_variables("resnet8_cifar")
    write_weights(tmp_path / "a.npz", "resnet8_cifar", variables, layout="torch")
    digest = vectors_digest(read_tensors(tmp_path / "a.npz"))
    entry = catalog.Weights("published", "resnet8_cifar", "MIT", 0.9, None, Preprocessing(32, 36), "cifar10", digest)
    monkeypatch.setitem(catalog.BY_DIGEST, digest, entry)
    write_weights(tmp_path / "b.npz", "resnet8_cifar", variables)
    write_tensors(tmp_path / "c.npz", {f"module.{n}": t for n, t in read_tensors(tmp_path / "a.npz").items()})
    for name in "abc":
        weights = open_weights("resnet8_cifar", tmp_path / f"{name}.npz")
        assert weights.preprocessing == Preprocessing(32, 36)
        assert weights.source == "published"
    with pytest.raises(InputError, match=r"a\.npz holds weights of resnet8_cifar, not of plain8_cifar"):
        load_pretrained("plain8_cifar", tmp_path / "a.npz")


@pytest.mark.parametrize(("depth", "name"), [(20, "resnet20-12fca82f"), (32, "resnet32-d509ac18")])
def test_akamasters_weights_are_known_under_another_name(tmp_path, real_weights, depth, name):
    (tmp_path / "mine.pth").write_bytes((real_weights / f"{name}.th").read_bytes())
    weights = open_weights(f"resnet{depth}_cifar", tmp_path / "mine.pth")
    assert weights.preprocessing == BY_NAME[name].preprocessing
    assert weights.source == name
    assert weights.preprocessing_from == f"the catalog's entry for {name}"
