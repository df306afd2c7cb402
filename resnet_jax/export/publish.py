"""Publishing of a trained network: a folder that timm, onnxruntime and this package read, and its upload to the hub."""

import json
import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flax.traverse_util import flatten_dict

from resnet_jax.data.preprocessing import Preprocessing
from resnet_jax.errors import InputError
from resnet_jax.export.compare import filled
from resnet_jax.export.facts import preprocessing_of, public_source
from resnet_jax.export.model_card import write_card
from resnet_jax.export.write import export
from resnet_jax.inference.convert import write_trained
from resnet_jax.inference.trained import Trained
from resnet_jax.weights.formats import PRETRAINED
from resnet_jax.weights.hub import upload
from resnet_jax.weights.rules import has_torch_layout, rules_for
from resnet_jax.weights.shapes import options_of
from resnet_jax.weights.torch_layout import torch_module

# Networks that timm has, under our names and with our layout of PyTorch's weights (tests/parity).
TIMM = re.compile(
    r"resnet(18|34|50|101|152)|resnet\d+[dt]|resnext.*|wide_resnet.*|(se|eca|sk)resnet.*|resnet(blur|rs|v2_).*|densenet\d+"
)
REPO = re.compile(r"[\w.-]+/[\w.-]+")
FILES = {
    "model.safetensors": "weights in PyTorch's layout, which this package reads too",
    "resnet_jax.safetensors": "weights in this package's layout, with their description",
    "config.json": "network and preprocessing, in timm's format",
    "preprocessing.json": "resizing, crop and normalization of the images",
    "model.onnx": "the network for onnxruntime; its metadata hold classes and preprocessing",
    "curves.png": "loss and accuracy during the training",
}


def publish(
    trained: Trained, repo: str, folder: str | Path, *, license: str = "", private: bool = False, dry_run: bool = False
) -> tuple[Path, str]:
    """Write what is published of a network into a new folder, and upload it.

    Args:
        trained: the network.
        repo: USER/NAME on the hub.
        folder: to write; it must not exist.
        license: SPDX identifier, such as "apache-2.0"; "" is that of the weights in the catalog, or not stated.
        private: create a repository that others do not see.
        dry_run: leave the folder, and upload nothing.

    Returns:
        (the folder, address of the commit on the hub, or "").

    Raises:
        InputError: the name is none, the folder exists, the network cannot be written, or the upload fails; the folder
            is then kept.
    """
    if not REPO.fullmatch(repo):
        raise InputError(f"--repo={repo}: name it USER/NAME, of letters, digits, dots and hyphens")
    if find_spec("huggingface_hub") is None:
        raise InputError(f"a model card needs the extra `pretrained`: {PRETRAINED}")
    folder = Path(folder)
    # With options of its own it is another network than timm's of that name.
    in_timm = bool(TIMM.fullmatch(trained.name)) and not options_of(trained.name, trained.model)
    with filled(folder, "folder") as draft:
        contents = _write_files(trained, draft)
        write_card(trained, repo, license, contents, in_timm, draft / "README.md")
    return folder, "" if dry_run else upload(repo, folder, private=private)


def _write_files(trained: Trained, folder: Path) -> dict[str, str]:
    in_torch = has_torch_layout(trained.name)
    write_trained(folder / "model.safetensors", trained, "torch" if in_torch else "ours", public_source(trained))
    if in_torch:
        write_trained(folder / "resnet_jax.safetensors", trained, "ours", public_source(trained))
    config = timm_config(trained.name, trained.num_classes, trained.class_names, trained.preprocessing)
    if in_torch:
        config["pretrained_cfg"] |= replaced_layers(trained.name, trained.variables)
    (folder / "config.json").write_text(json.dumps(config, indent=2), "utf-8")
    (folder / "preprocessing.json").write_text(json.dumps(preprocessing_of(trained), indent=2), "utf-8")
    export(trained, folder / "model.onnx")
    curves = Path(trained.source) / "curves.png"
    if trained.run is not None and curves.is_file():
        shutil.copy(curves, folder)
    kinds = FILES if in_torch else FILES | {"model.safetensors": FILES["resnet_jax.safetensors"]}
    return {name: kind for name, kind in kinds.items() if (folder / name).exists()}


def replaced_layers(name: str, variables: Any) -> dict[str, str]:
    """Return torch's names of the layers that timm replaces for images of other channels, and for other classes."""
    params: dict[str, Any] = flatten_dict(variables["params"], sep="/")
    first = next(path for path, leaf in params.items() if path.endswith("/kernel") and leaf.shape[-2] == 3)
    rules = rules_for(name)
    found = {
        "first_conv": torch_module(first.removesuffix("/kernel"), rules),
        "classifier": torch_module("head", rules),
    }
    return found if "head" in variables["params"] else {"first_conv": found["first_conv"]}


def timm_config(
    name: str, num_classes: int, class_names: tuple[str, ...] | None, preprocessing: Preprocessing
) -> dict[str, Any]:
    """Return the description of a network by which `timm.create_model("hf-hub:…")` builds it.

    Args:
        name: of the network; timm knows it under the same.
        num_classes: K.
        class_names: K names, if they are known.
        preprocessing: of the images.
    """
    size = preprocessing.image_size
    return {
        "architecture": name,
        "num_classes": num_classes,
        "label_names": list(class_names or ()),
        "pretrained_cfg": {
            "input_size": [3, size, size],
            "fixed_input_size": False,
            "interpolation": preprocessing.interpolation,
            # timm and this package round size / crop_pct down.
            "crop_pct": size / (preprocessing.resize + 0.5),
            "crop_mode": "center",
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
            "num_classes": num_classes,
            "label_names": list(class_names or ()),
        },
    }
