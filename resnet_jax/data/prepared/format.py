"""The format of prepared sets: encoded images, labels and names in array_record shards beside a manifest.

    OUT/manifest.json                     written last: a folder without it is not finished
    OUT/train/00000-of-00042.array_record
    OUT/val/00000-of-00002.array_record

A record is the label (4 bytes, little-endian), the length of the name (2 bytes), the name (UTF-8) and the image file.

Opening a set compares the size of every shard with the manifest, and the sum of its first and last 64 KiB, which tells
exchanged shards apart; array_record itself checks every record that it reads; `experiments.prepare --check` compares
the SHA-256 of whole shards.
"""

import hashlib
import json
import os
import struct
from pathlib import Path, PurePosixPath
from typing import Any

from resnet_jax.errors import InputError

MANIFEST = "manifest.json"
FORMAT = 1
END = 2**16  # bytes at each end of a shard that opening compares

_HEAD = struct.Struct("<iH")

# Type of each field of a shard. Manifests without "ends" exist: sizes alone are then compared.
_SHARD_FIELDS = {"file": str, "records": int, "bytes": int, "sha256": str}


def pack(image: bytes, label: int, name: str) -> bytes:
    """Return one record; of a name, its last 1000 bytes."""
    stored = name.encode(errors="surrogateescape")[-1000:]
    return _HEAD.pack(label, len(stored)) + stored + image


def unpack(record: bytes) -> tuple[bytes, int, str]:
    """Return the image file, the label and the name in a record."""
    label, length = _HEAD.unpack_from(record)
    start = _HEAD.size + length
    return record[start:], label, record[_HEAD.size : start].decode(errors="replace")


def read_manifest(root: Path) -> dict[str, Any]:
    """Read the manifest of a prepared set and check its fields.

    Returns:
        {"format", "class_names": K names, "splits": {split: {"shards": [{"file", "records", "bytes", "sha256", "ends"},
        …]}}, and the settings}.

    Raises:
        InputError: there is none, it is of another format, or it is damaged.
    """
    path = root / MANIFEST
    try:
        manifest = json.loads(path.read_text("utf-8"))
        found = manifest["format"]
        if found == FORMAT:
            _check_fields(manifest)
    except FileNotFoundError:
        raise InputError(
            f"{path} is missing: no prepared set, or an unfinished one; python -m experiments.prepare --out={root} … "
            "makes or continues it"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"no field {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise InputError(
            f"{path} cannot be read, or is damaged ({reason}); copy it again, or prepare the set into another folder"
        ) from error
    if found != FORMAT:
        raise InputError(f"{path} has format {found}, this program reads format {FORMAT}; prepare the set again")
    return manifest


def _check_fields(manifest: dict[str, Any]) -> None:
    names = manifest["class_names"]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError("class_names is not a list of names")
    for split, content in manifest["splits"].items():
        shards = content["shards"]
        if not isinstance(shards, list) or not shards:
            raise ValueError(f"split {split} has no list of shards")
        for shard in shards:
            for field, kind in _SHARD_FIELDS.items():
                if type(shard[field]) is not kind:
                    raise ValueError(f"{field} of a shard of {split} is not of type {kind.__name__}")
            file = PurePosixPath(shard["file"])
            if file.is_absolute() or ".." in file.parts or shard["records"] < 0:
                raise ValueError(f"a shard of {split} has file {file} and {shard['records']} records")


def check_shards(root: Path, shards: list[dict[str, Any]]) -> None:
    """Compare the shards' sizes and the sums of their ends with the manifest's.

    Raises:
        InputError: a shard is missing or differs.
    """
    again = "copy it again, or prepare the set in a new folder"
    for shard in shards:
        path = root / shard["file"]
        try:
            size, ends = path.stat().st_size, ends_sha256(path)
        except FileNotFoundError:
            raise InputError(f"{path} is missing; copy it there, or prepare the set in a new folder") from None
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); {again}") from error
        if size != shard["bytes"]:
            raise InputError(f"{path} has {size} bytes instead of {shard['bytes']}; {again}")
        if ends != shard.get("ends", ends):
            raise InputError(f"{path} is another shard, or damaged: its ends are not as they were written; {again}")


def check_sum(root: Path, shard: dict[str, Any]) -> None:
    """Compare a shard's sum with the manifest's.

    Raises:
        InputError: they differ.
    """
    path = root / shard["file"]
    if (found := sha256(path)) != shard["sha256"]:
        raise InputError(
            f"{path} is damaged: its SHA-256 is {found}, not {shard['sha256']}; copy it again, "
            "or prepare the set in a new folder"
        )


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def ends_sha256(path: Path) -> str:
    """Return the SHA-256 of the first and the last END bytes of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(END))
        file.seek(max(0, file.seek(0, os.SEEK_END) - END))
        digest.update(file.read())
    return digest.hexdigest()
