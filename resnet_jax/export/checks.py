"""Checks of an export, before anything is computed or written."""

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from resnet_jax.errors import InputError
from resnet_jax.export.stablehlo import EXTRA
from resnet_jax.inference.trained import Trained

Format = Literal["onnx", "stablehlo", "safetensors", "web"]
ENDINGS: dict[str, Format] = {".onnx": "onnx", ".stablehlo": "stablehlo", ".safetensors": "safetensors"}
# Options of some formats alone.
OPTIONS: dict[str, tuple[Format, ...]] = {
    "with_preprocessing": ("onnx", "stablehlo", "web"),
    "half": ("onnx", "web"),
    "int8": ("onnx",),
    "beside": ("stablehlo",),
    "onnxruntime_web": ("web",),
    "dataset": ("onnx", "stablehlo", "web"),
    "data_dir": ("onnx", "stablehlo", "web"),
}


def format_of(out: Path, to: Format | None) -> Format:
    """Return the format of a file: the one that is named, or what its name ends with.

    Raises:
        InputError: it has no known ending.
    """
    chosen = to or ENDINGS.get(out.suffix)
    if chosen is None:
        raise InputError(f"--out={out}: name the format, --to=onnx, stablehlo, safetensors or web")
    return chosen


def check_options(chosen: Format, given: Mapping[str, object]) -> None:
    """Refuse options that a format does not have.

    Args:
        chosen: the format.
        given: values of `OPTIONS`; those that are true count.

    Raises:
        InputError: the first of them, or two that exclude each other.
    """
    for name, kinds in OPTIONS.items():
        if given[name] and chosen not in kinds:
            raise InputError(f"--{name} is for --to={' or '.join(kinds)}, not for {chosen}")
    if given["half"] and given["int8"]:
        raise InputError("--half and --int8 are two ways to store arrays; take one")


def check_values(chosen: Format, trained: Trained, size: Sequence[int], num_pictures: int, max_drop: float) -> None:
    """Refuse values that no export of the network can have; arguments as in `export`.

    Raises:
        InputError: the first of them.
    """
    if size and not trained.classifies_pixels:
        raise InputError("--size is for networks that classify pixels; of others, --image_size")
    if size and (len(size) != 2 or min(size) < 1):
        raise InputError(f"--size {' '.join(map(str, size))}: name two, height and width")
    if num_pictures < 1:
        raise InputError(f"--pictures={num_pictures} must be at least 1")
    if not 0 <= max_drop < 1:
        raise InputError(f"--max_drop={max_drop} must be a fraction from 0 to 1, such as 0.01")
    if chosen == "web" and trained.classifies_pixels:
        raise InputError("--to=web is for networks that classify images, not pixels")


def check_outputs(out: Path, chosen: Format, *, beside: bool) -> None:
    """Refuse files that cannot be written, and a format whose packages are missing.

    Raises:
        InputError: the first of them.
    """
    check_writable(out, folder=chosen == "web")
    for other in companions(out, beside=beside) if chosen == "stablehlo" else ():
        check_writable(other)
        if other.exists() and not out.exists():
            raise InputError(f"--out={out} comes with {other}, which exists; remove it, or name another")
    if chosen in ("onnx", "web"):
        check_packages()


def companions(out: Path, *, beside: bool) -> tuple[Path, ...]:
    """Return the files beside a StableHLO program: its description, and its arrays where they lie `beside`."""
    return tuple(out.with_name(f"{out.name}{ending}") for ending in (".json", *[".safetensors"] * beside))


def check_packages() -> None:
    """Refuse to write ONNX without its packages, before anything is computed.

    Raises:
        InputError: one is not installed.
    """
    for package in ("onnx", "onnxruntime"):
        if find_spec(package) is None:
            raise InputError(f"ONNX files need the package {package}, of the extra `export`: {EXTRA}")


def check_writable(out: Path, *, folder: bool = False) -> None:
    """Refuse a file that cannot be written, before anything is computed.

    Raises:
        InputError: its folder does not exist or cannot be written to, or it is a folder itself where a file is to be
            written, or exists where a `folder` is.
    """
    parent = out.absolute().parent
    if folder and out.exists():
        raise InputError(f"--out={out} exists; remove it, or name another")
    if out.is_dir():
        raise InputError(f"--out={out} is a folder; name a file in it")
    if not parent.is_dir():
        raise InputError(f"--out={out}: there is no folder {parent}; create it")
    if not os.access(parent, os.W_OK):
        raise InputError(f"--out={out}: {parent} cannot be written to; name another folder")
