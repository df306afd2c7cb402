"""Files of tensors: safetensors, .npz, and PyTorch's own, read without PyTorch.

A file of weights comes from strangers: nothing in it is executed, and a small file cannot claim all memory. Its content
tells its kind, not its name.
"""

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import ml_dtypes
import numpy as np

from resnet_jax.errors import InputError
from resnet_jax.files.atomic import atomic_path
from resnet_jax.weights import content, state_dict, torch_file
from resnet_jax.weights.checksum import KEY, checksum
from resnet_jax.weights.torch_tensors import DTYPES, size_in_memory

PRETRAINED = "pip install 'residual-jax[pretrained]'"

# What a compressed file may unpack to, unless it is small: trained weights hardly compress, zeros do a thousandfold.
MAX_RATIO = 20
ALWAYS_ALLOWED = 2**28  # bytes

# Kind of a file whose content does not tell, because it is cut short.
ENDINGS = {
    ".safetensors": "safetensors",
    ".npz": "npz",
    **dict.fromkeys((".pth", ".pt", ".th", ".tar", ".ckpt", ".bin"), "pickle"),
}

SAFETENSORS = {
    **{"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool", "C64": "complex64"},
    **{f"{sign}{bits}": f"{kind}{bits}" for sign, kind in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)},
    **{"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu"},
    **{"F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz"},
}


@dataclass(frozen=True)
class TensorFile:
    """Tensors and metadata of a file.

    Attributes:
        tensors: by name; floating ones as float32.
        facts: its metadata, without the checksum.
        note: a line about a choice among several sets of weights; empty where there was none.
    """

    tensors: dict[str, np.ndarray]
    facts: dict[str, str] = field(default_factory=dict)
    note: str = ""


def has_known_ending(path: str | Path) -> bool:
    """Return whether a file's name ends as those of weights do, in capitals or not."""
    return Path(path).suffix.lower() in ENDINGS


def read_file(path: str | Path, weights_key: str = "") -> TensorFile:
    """Read a .safetensors or .npz file, or one of PyTorch's (.pth, .pth.tar, .pt, .th, .ckpt, .bin).

    Args:
        path: of the file.
        weights_key: which of several sets of weights, as in `state_dict.find`.

    Raises:
        InputError: the file is missing, damaged, of another kind, holds something else than tensors, or would run code.
    """
    path = Path(path)
    if not has_known_ending(path) and not path.exists():
        raise InputError(f"{path}: weights are files ending in {', '.join(ENDINGS)}")
    try:
        if path.is_dir():
            inside = sorted(file.name for file in path.iterdir() if has_known_ending(file))
            remedy = f"; name a file in it: {', '.join(inside[:5])}" if inside else " without files of weights"
            raise InputError(f"{path}: a folder{remedy}")
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    kind = content.kind_of(path) or ENDINGS.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"{path}: not a file of weights; those end in {', '.join(ENDINGS)}")
    try:
        saved, facts = READERS[kind](path)
        written = facts.pop(KEY, None)
        if written and written != checksum(saved, facts):
            raise InputError("damaged: its content does not have the SHA-256 in it; copy or convert it again")
        tensors, note = state_dict.find(saved, weights_key)
        if (unpacked := size_in_memory(tensors)) > _limit(size):
            raise InputError(_too_large(size, unpacked))
        arrays = {name: _numbers(name, tensor.read()) for name, tensor in tensors.items()}
    except InputError as error:
        raise InputError(f"{path}: {error}") from error.__cause__
    except Exception as error:  # each reader has its own kinds for damaged files, OSError among them
        reason = (str(error) or type(error).__name__).split("\n")[0]
        raise InputError(f"{path}: damaged or cut short at {size:,} bytes ({reason}); copy it again") from error
    return TensorFile({name: _as_float32(array) for name, array in arrays.items()}, facts, note)


def write_tensors(
    path: str | Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a .safetensors or .npz file with a checksum, atomically; a .safetensors file has the same bytes every time.

    Args:
        path: of the file.
        tensors: by name.
        metadata: of the file; in an .npz file it is the archive's comment.

    Raises:
        InputError: another ending, more metadata than the format holds, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix not in (".safetensors", ".npz"):
        raise InputError(f"--out={path}: tensors are written to .safetensors or .npz")
    # The writer takes an array's memory as it lies, so that a transposed view would be saved untransposed.
    arrays = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    facts = dict(metadata or {})
    facts |= {KEY: checksum(arrays, facts)}
    comment = json.dumps(facts).encode()
    if path.suffix == ".npz" and len(comment) > zipfile.ZIP_MAX_COMMENT:
        raise InputError(
            f"--out={path}: its description has {len(comment):,} bytes, and an .npz file holds "
            f"{zipfile.ZIP_MAX_COMMENT:,}; write .safetensors"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.touch()
            mode = temporary.stat().st_mode
            if path.suffix == ".safetensors":
                _write_safetensors(temporary, arrays, facts)
            else:
                _write_npz(temporary, arrays, comment)
            temporary.chmod(mode)  # safetensors writes files that nobody else may read, whatever the umask
    except OSError as error:
        raise InputError(f"--out={path}: cannot be written ({error.strerror or error})") from error


def _write_safetensors(path: Path, arrays: Mapping[str, np.ndarray], facts: Mapping[str, str]) -> None:
    library = _safetensors()
    try:
        library.numpy.save_file(arrays, path, metadata=facts)
    except library.SafetensorError as error:  # what the system said, such as a full disk
        raise OSError(str(error)) from error
    _sort_metadata(path)


def _sort_metadata(path: Path) -> None:
    """Bring the metadata of a .safetensors file into the order of their names; the library writes them in any order."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(text) <= size  # the same values, and at the end the spaces that align the arrays
        file.seek(8)
        file.write(text.ljust(size))


def _write_npz(path: Path, arrays: Mapping[str, np.ndarray], comment: bytes) -> None:
    with path.open("wb") as file:
        np.savez(file, **cast(dict[str, Any], arrays))
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = comment


def _read_safetensors(path: Path) -> tuple[Any, dict[str, str]]:
    data = path.read_bytes()
    entries = _safetensors().deserialize(data)  # checks the header
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    if unknown := [f"{name} ({entry['dtype']})" for name, entry in entries if entry["dtype"] not in SAFETENSORS]:
        raise InputError(f"numbers of a type that is not known here: {', '.join(unknown[:5])}")
    tensors = {}
    for name, entry in entries:
        dtype = DTYPES[SAFETENSORS[entry["dtype"]]]
        tensors[name] = np.frombuffer(entry["data"], dtype).reshape(entry["shape"])
    return tensors, header.get("__metadata__", {})


def _read_npz(path: Path) -> tuple[Any, dict[str, str]]:
    _refuse_zip_bomb(path)
    tensors = {}
    with np.load(path, allow_pickle=False) as file:
        comment = file.zip.comment
        for name in file.files:
            try:
                tensors[name] = file[name]
            except ValueError as error:
                if "allow_pickle" in str(error):
                    raise InputError(f"array '{name}' holds Python objects, not numbers; leave it out") from error
                raise
    # A comment of another form is a damaged one of ours: nothing else writes any.
    facts = json.loads(comment) if comment else {}
    if comment and KEY not in facts:
        raise ValueError("its comment has no checksum")
    return tensors, facts


def _read_torch(path: Path) -> tuple[Any, dict[str, str]]:
    _refuse_zip_bomb(path)
    return torch_file.read_zip(path), {}


def _read_pickle(path: Path) -> tuple[Any, dict[str, str]]:
    return torch_file.read_pickle(path), {}


READERS = {"safetensors": _read_safetensors, "npz": _read_npz, "torch": _read_torch, "pickle": _read_pickle}


def _refuse_zip_bomb(path: Path) -> None:
    with zipfile.ZipFile(path) as file:
        unpacked = sum(entry.file_size for entry in file.infolist())
    packed = path.stat().st_size
    if unpacked > _limit(packed):
        raise InputError(_too_large(packed, unpacked))


def _limit(packed: int) -> int:
    return max(ALWAYS_ALLOWED, MAX_RATIO * packed)


def _too_large(packed: int, unpacked: int) -> str:
    return f"{packed / 2**20:.1f} MiB that would unpack to {unpacked / 2**30:.1f} GiB; no network's weights do"


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise InputError(f"safetensors files need the extra `pretrained`: {PRETRAINED}") from None
    return safetensors


def _numbers(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind in "biuf" or _is_floating(array.dtype):
        return array
    kinds = {"U": "text", "S": "text", "c": "complex numbers", "M": "dates", "m": "durations", "O": "Python objects"}
    kind = "records" if array.dtype.names else kinds.get(array.dtype.kind, f"{array.dtype} values")
    raise InputError(f"array '{name}' holds {kind}, not real numbers; leave it out")


def _as_float32(tensor: np.ndarray) -> np.ndarray:
    # ml_dtypes' types are not np.floating to numpy.
    return np.asarray(tensor, np.float32) if _is_floating(tensor.dtype) else tensor


def _is_floating(dtype: np.dtype) -> bool:
    return np.issubdtype(dtype, np.floating) or dtype.type.__module__.startswith(ml_dtypes.__name__)
