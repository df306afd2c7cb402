import hashlib
import json
import struct
from pathlib import Path
from typing import Any

from resnet_jax.errors import InputError

MANIFEST = "manifest.json"


FORMAT = 1


_HEAD = struct.Struct("<iH")


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
    """What the folder's manifest says.

    Raises:
        InputError: there is none, or it is of another form.
    """
    path = root / MANIFEST
    try:
        manifest = json.loads(path.read_text())
        found = manifest["format"]
    except FileNotFoundError:
        raise InputError(
            f"{path} is missing: no prepared set, or an unfinished one; python -m experiments.prepare --out={root} … "
            "makes it or goes on"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}); prepare the set again into another folder") from error
    if found != FORMAT:
        raise InputError(f"{path} is of form {found}, this program reads form {FORMAT}; prepare the set again")
    return manifest


def check_sizes(root: Path, shards: list[dict[str, Any]]) -> None:
    """Compare the shards' sizes with the manifest's.

    Raises:
        InputError: a shard is missing or has another size.
    """
    for shard in shards:
        path = root / shard["file"]
        if not path.is_file():
            raise InputError(f"{path} is missing; copy it there, or prepare the set in a new folder")
        if (size := path.stat().st_size) != shard["bytes"]:
            raise InputError(
                f"{path} has {size} bytes instead of {shard['bytes']}; copy it again, or prepare the set in a "
                "new folder"
            )


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
