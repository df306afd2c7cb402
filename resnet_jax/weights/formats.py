"""Files of tensors: safetensors and .npz without PyTorch, .pth through PyTorch's own loader of plain tensors.

A file of weights comes from strangers: nothing in it is executed, and a small file cannot claim all memory.
"""

import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from resnet_jax.errors import InputError
from resnet_jax.files.atomic import atomic_path

PRETRAINED = "pip install 'residual-jax[pretrained]'"

# What a compressed file may unpack to, unless it is small: trained weights hardly compress, zeros do a thousandfold.
MAX_RATIO = 20
ALWAYS_ALLOWED = 2**28  # bytes

# Where training scripts put the state dict among other things.
NESTED = ("state_dict", "model")


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a .safetensors, .npz, .pth, .pt or .th file by name; floating ones as float32.

    Raises:
        InputError: the file is missing, damaged, of another kind, holds something else than tensors, or would run code.
    """
    path = Path(path)
    if path.suffix not in READERS:
        raise InputError(f"{path}: weights are files ending in {', '.join(READERS)}")
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    try:
        tensors = READERS[path.suffix](path)
    except InputError:
        raise
    except Exception as error:  # each reader has its own kinds for damaged files, OSError among them
        reason = str(error).split("\n")[0]
        raise InputError(f"{path}: damaged or cut short at {size:,} bytes ({reason}); copy it again") from error
    if not tensors:
        raise InputError(f"{path}: holds no tensors")
    return {name: _as_float32(tensor) for name, tensor in tensors.items()}


def read_metadata(path: str | Path) -> dict[str, str]:
    """What a .safetensors file says of itself; empty for every other kind.

    Raises:
        InputError: the file is damaged.
    """
    if Path(path).suffix != ".safetensors":
        return {}
    try:
        with _safetensors().safe_open(path, framework="numpy") as file:
            return file.metadata() or {}
    except Exception as error:
        raise InputError(f"{path}: damaged or cut short ({error}); copy it again") from error


def write_tensors(
    path: str | Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a .safetensors or .npz file, whole or not at all; only the former keeps the metadata.

    Raises:
        InputError: another ending, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix not in (".safetensors", ".npz"):
        raise InputError(f"--out={path}: tensors are written to .safetensors or .npz")
    # The writer takes an array's memory as it lies, so that a transposed view would be saved untransposed.
    arrays = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as draft:
            if path.suffix == ".safetensors":
                _safetensors().numpy.save_file(arrays, draft, metadata=dict(metadata or {}))
            else:
                with draft.open("wb") as file:
                    np.savez(file, **cast(dict[str, Any], arrays))
    except OSError as error:
        raise InputError(f"--out={path}: cannot be written ({error.strerror or error})") from error


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    return _safetensors().numpy.load_file(path)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    _refuse_zip_bomb(path)
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError:
        raise InputError(
            f"{path}: only PyTorch reads this kind of file; pip install torch, or get the weights as .safetensors"
        ) from None
    if zipfile.is_zipfile(path):
        _refuse_zip_bomb(path)
    try:
        with warnings.catch_warnings(action="ignore"):  # about the pickle's protocol, in a file that is refused anyway
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: refused, because it holds Python objects, which could run code, and not only tensors; "
            "get the weights as .safetensors"
        ) from error
    if isinstance(loaded, dict):
        loaded = next((loaded[key] for key in NESTED if isinstance(loaded.get(key), dict)), loaded)
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise InputError(f"{path}: not a state dict; it must hold tensors by name, alone or under 'state_dict'")
    # numpy has no bfloat16 that torch knows.
    plain = {str(name): t.float() if t.is_floating_point() else t for name, t in loaded.items()}
    return {name.removeprefix("module."): t.numpy() for name, t in plain.items()}


READERS = {
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
    **dict.fromkeys((".pth", ".pt", ".th"), _read_torch),
}


def _refuse_zip_bomb(path: Path) -> None:
    with zipfile.ZipFile(path) as file:
        unpacked = sum(entry.file_size for entry in file.infolist())
    packed = path.stat().st_size
    if unpacked > max(ALWAYS_ALLOWED, MAX_RATIO * packed):
        raise InputError(
            f"{path}: {packed / 2**20:.1f} MiB that would unpack to {unpacked / 2**30:.1f} GiB; no network's weights do"
        )


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise InputError(f"safetensors files need the extra `pretrained`: {PRETRAINED}") from None
    return safetensors


def _as_float32(tensor: np.ndarray) -> np.ndarray:
    # ml_dtypes' bfloat16 is no np.floating to numpy.
    floating = np.issubdtype(tensor.dtype, np.floating) or tensor.dtype.name == "bfloat16"
    return np.asarray(tensor, np.float32) if floating else tensor
