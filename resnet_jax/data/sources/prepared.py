"""Sets that `experiments.prepare` wrote: encoded images, labels and names in array_record shards beside a manifest.

    OUT/manifest.json                     written last: a folder without it is not finished
    OUT/train/00000-of-00042.array_record
    OUT/val/00000-of-00002.array_record

A record is the label (4 bytes, little-endian), the length of the name (2 bytes), the name (UTF-8) and the image file.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from resnet_jax.data.prepared.format import check_sizes, read_manifest, unpack
from resnet_jax.data.sources.source import Example, check_label
from resnet_jax.errors import InputError


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
    """Open one split; looks at the size of every shard, not at its sum.

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
