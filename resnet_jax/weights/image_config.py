"""Preprocessing of the images for a set of weights: as published, as a file beside them has it, or the usual one.

Beside them stand the config.json of timm or the preprocessor_config.json of transformers.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from resnet_jax.data.preprocessing import MEAN_STD, Preprocessing
from resnet_jax.errors import InputError
from resnet_jax.weights.catalog import Weights
from resnet_jax.weights.layout import Layout
from resnet_jax.weights.rules import bit

TIMM = "config.json"
TRANSFORMERS = "preprocessor_config.json"
FILES = (TIMM, TRANSFORMERS)

RESAMPLE = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers


def find_preprocessing(
    name: str, folder: Path, described: Preprocessing | None, known: Weights | None, layout: Layout
) -> tuple[Preprocessing, str]:
    """Find how images are preprocessed for weights.

    Args:
        name: the network.
        folder: where the weights are.
        described: as stated in their file.
        known: their entry in the catalog.
        layout: of the file.

    Returns:
        (preprocessing, where it is from).

    Raises:
        InputError: a file beside the weights makes no sense.
    """
    if described:
        return described, "the file itself"
    if known:
        return known.preprocessing, f"the catalog's entry for {known.name}"
    if beside := preprocessing_beside(folder):
        return beside[0], f"the {beside[1]} beside the weights"
    if layout is bit.LAYOUT:
        return Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3), "BiT's usual values (assumed)"
    if name.endswith("_cifar"):
        return Preprocessing(32, 32, *MEAN_STD["cifar10"]), "CIFAR-10's usual values (assumed)"
    return Preprocessing(), "torchvision's usual values (assumed)"


def preprocessing_beside(folder: Path) -> tuple[Preprocessing, str] | None:
    """Read the preprocessing from a folder of weights.

    Args:
        folder: where the weights are.

    Returns:
        (preprocessing, name of the file that it stands in); None where there is no such file, or it is about something
        else.

    Raises:
        InputError: a file cannot be read, or its values make no sense.
    """
    for name, read in ((TIMM, _from_timm), (TRANSFORMERS, _from_transformers)):
        path = folder / name
        if not path.is_file():
            continue
        try:
            preprocessing = read(json.loads(path.read_text()))
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from error
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise InputError(f"{path}: its preprocessing makes no sense ({error}); mend or remove it") from error
        if preprocessing:
            return preprocessing, name
    return None


def _from_timm(config: Mapping[str, Any]) -> Preprocessing | None:
    values = config.get("pretrained_cfg", config)
    if not {"mean", "std"} <= values.keys() or not {"crop_pct", "input_size"} & values.keys():
        return None  # a run's, or another library's
    size, crop = values.get("input_size", (3, 224, 224))[-1], values.get("crop_pct") or 0.875
    if size < 224 and values.get("test_input_size"):
        # Trained at a lower resolution than they are meant for.
        size, crop = values["test_input_size"][-1], values.get("test_crop_pct") or crop
    return _checked(size, int(size / crop), values["mean"], values["std"], values.get("interpolation", "bilinear"))


def _from_transformers(config: Mapping[str, Any]) -> Preprocessing | None:
    if not {"image_mean", "image_std", "size"} <= config.keys():
        return None
    size = _pixels(config["size"])
    kernel = RESAMPLE.get(config.get("resample", 2), "bilinear")
    if config.get("do_center_crop") and config.get("crop_size"):
        return _checked(_pixels(config["crop_size"]), size, config["image_mean"], config["image_std"], kernel)
    # ConvNext's way, which ResNets take too: below 384 pixels the shorter side is resized to size / crop_pct.
    resize = int(size / config.get("crop_pct", 1.0)) if size < 384 else size
    return _checked(size, resize, config["image_mean"], config["image_std"], kernel)


def _pixels(size: Any) -> int:
    if isinstance(size, Mapping):
        return int(size["shortest_edge"] if "shortest_edge" in size else size["height"])
    return int(size)


def _checked(size: int, resize: int, mean: Any, std: Any, interpolation: str) -> Preprocessing:
    mean, std = tuple(map(float, mean)), tuple(map(float, std))
    if len(mean) != 3 or len(std) != 3 or not all(map(math.isfinite, mean + std)) or min(std) <= 0:
        raise ValueError(f"mean {mean}, std {std}")
    if not 0 < size <= resize:
        raise ValueError(f"a crop of {size} pixels out of {resize}")
    kernel = interpolation if interpolation in RESAMPLE.values() else "bilinear"
    return Preprocessing(size, resize, mean, std, cast(Any, kernel))
