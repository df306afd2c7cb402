"""Sets that `experiments.prepare` wrote: encoded images, labels and names in array_record shards beside a manifest.

    OUT/manifest.json                     written last: a folder without it is not finished
    OUT/train/00000-of-00042.array_record
    OUT/val/00000-of-00002.array_record

A record is the label (4 bytes, little-endian), the length of the name (2 bytes), the name (UTF-8) and the image file.
"""

import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from resnet_jax.data.examples import Example, check_label
from resnet_jax.errors import InputError

MANIFEST = "manifest.json"
FORMAT = 1
_HEAD = struct.Struct("<iH")


def pack(image: bytes, label: int, name: str) -> bytes:
    """One record; of a name, its last 1000 bytes."""
    stored = name.encode(errors="surrogateescape")[-1000:]
    return _HEAD.pack(label, len(stored)) + stored + image


def unpack(record: bytes) -> tuple[bytes, int, str]:
    """The image file, the label and the name in a record."""
    label, length = _HEAD.unpack_from(record)
    start = _HEAD.size + length
    return record[start:], label, record[_HEAD.size : start].decode(errors="replace")


@dataclass(frozen=True)
class PreparedSource:
    """One split of a prepared set, in the order of what it was made from.

    Attributes:
        records: array_record's data source over the shards; it reads by index, from any thread, and pickles.
        class_names: K names.
        name: the folder and the split.
    """

    records: Any
    class_names: tuple[str, ...]
    name: str

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(index)
        try:
            image, label, name = unpack(self.records[index])
        except (RuntimeError, ValueError, struct.error) as error:
            raise InputError(
                f"{self.name} example {index} cannot be read: a shard is damaged; find out which with "
                "python -m experiments.prepare --check --out=FOLDER"
            ) from error
        name = f"{self.name} example {index} ({name})"
        return Example(image, check_label(label, len(self.class_names), name), name)


def prepared_source(split: Literal["train", "val"], data_dir: str | None) -> PreparedSource:
    """Opens one split; looks at the size of every shard, not at its sum.

    Raises:
        InputError: the folder is no finished prepared set, it has no such split, or a shard is missing or has another
            size.
    """
    if data_dir is None:
        raise InputError("--dataset=prepared needs --data_dir=OUT, the folder that experiments.prepare wrote")
    root = Path(data_dir).expanduser()
    manifest = read_manifest(root)
    if split not in manifest["splits"]:
        raise InputError(f"{root} has no split {split}, only {', '.join(manifest['splits'])}; prepare it with --splits")
    shards = manifest["splits"][split]["shards"]
    check_sizes(root, shards)
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    records = ArrayRecordDataSource([str(root / shard["file"]) for shard in shards])
    if len(records) != (expected := sum(shard["records"] for shard in shards)):
        raise InputError(f"{root}: {split} has {len(records)} records instead of {expected}; prepare it again")
    return PreparedSource(records, tuple(manifest["class_names"]), f"{root} {split}")


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
    """Compares the shards' sizes with the manifest's.

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
    """Compares a shard's sum with the manifest's.

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
    """The SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
