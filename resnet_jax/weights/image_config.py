"""Preprocessing of the images for a set of weights: as published, as a file beside them has it, or the usual one.

Beside them stand the config.json of timm or the preprocessor_config.json of transformers.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

from resnet_jax.data.preprocessing import MEAN_STD, Preprocessing
from resnet_jax.errors import InputError
from resnet_jax.weights.catalog import Weights
from resnet_jax.weights.layout import Layout
from resnet_jax.weights.rules import bit

TIMM = "config.json"
TRANSFORMERS = "preprocessor_config.json"
FILES = (TIMM, TRANSFORMERS)

ASSUMED = "(assumed)"  # where nothing says how images are preprocessed
Interpolation = Literal["", "bilinear", "bicubic"]

RESAMPLE = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers


def is_guess(origin: str) -> bool:
    """Return whether a preprocessing of this origin is assumed, and no user has said any of it."""
    return origin.endswith(ASSUMED) and not origin.startswith("--")


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
        return Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3), f"BiT's usual values {ASSUMED}"
    if name.endswith("_cifar"):
        return Preprocessing(32, 32, *MEAN_STD["cifar10"]), f"CIFAR-10's usual values {ASSUMED}"
    return Preprocessing(), f"torchvision's usual values {ASSUMED}"


def completed(
    found: Preprocessing, origin: str, mean: Sequence[float], std: Sequence[float], interpolation: Interpolation
) -> tuple[Preprocessing, str]:
    """Return the preprocessing with what a user knows of it, where it is assumed.

    Args:
        found: as `find_preprocessing` found it.
        origin: where it is from.
        mean: of R, G, B in [0, 1]; empty: as found.
        std: of R, G, B in [0, 1]; empty: as found.
        interpolation: of the resizing; empty: as found.

    Returns:
        (preprocessing, where it is from).

    Raises:
        InputError: the values make no sense, or others are known.
    """
    values = {"mean": tuple(mean), "std": tuple(std), "interpolation": interpolation}
    given: dict[str, Any] = {name: value for name, value in values.items() if value}
    if not given:
        return found, origin
    options = " ".join(f"--{name} {_text(value)}" for name, value in given.items())
    try:
        new = replace(found, **given)
        _checked(new.image_size, new.resize, new.mean, new.std, new.interpolation)
    except ValueError as error:
        raise InputError(f"{options}: {error}") from error
    if origin.endswith(ASSUMED):
        return new, f"{options}, and {origin}"
    if differs := [f"{n} {_text(getattr(found, n))}" for n in given if _text(getattr(found, n)) != _text(given[n])]:
        raise InputError(f"{options}: these weights need {', '.join(differs)}, from {origin}; leave it out")
    return found, origin


def _text(value: str | Sequence[float]) -> str:
    return value if isinstance(value, str) else " ".join(f"{v:.4g}" for v in value)


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
            preprocessing = read(json.loads(path.read_text("utf-8")))
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
    if min(mean) < 0 or max(mean + std) > 1:
        raise ValueError(f"mean {_text(mean)}, std {_text(std)}, of pixels from 0 to 1; divide those to 255 by 255")
    if not 0 < size <= resize:
        raise ValueError(f"a crop of {size} pixels out of {resize}")
    kernel = interpolation if interpolation in RESAMPLE.values() else "bilinear"
    return Preprocessing(size, resize, mean, std, cast(Any, kernel))
