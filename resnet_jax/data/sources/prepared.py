"""Source of the sets that `experiments.prepare` wrote; `prepared.format` describes them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from resnet_jax.data.prepared.format import check_shards, read_manifest, unpack
from resnet_jax.data.sources.records import read_record
from resnet_jax.data.sources.source import Example, check_label
from resnet_jax.errors import InputError
from resnet_jax.files.open_files import make_room


@dataclass(frozen=True)
class PreparedSource:
    """One split of a prepared set, in the order of what it was made from.

    Attributes:
        records: array_record's data source over the shards; it reads by index, from any thread, and pickles.
        class_names: K names.
        name: the folder and the split.
        sums: SHA-256 of each shard, for `example_digest`.
    """

    records: Any
    class_names: tuple[str, ...]
    name: str
    sums: tuple[str, ...]

    intact = True  # the images were decoded when they were written, and array_record checks what it reads

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Example:
        remedy = "find out which with python -m experiments.prepare --check --out=FOLDER"
        image, label, name = read_record(self.records, index, self.name, remedy, unpack)
        name = f"{self.name} example {index} ({name})"
        return Example(image, check_label(label, len(self.class_names), name), name)

    def identity(self) -> Iterator[bytes]:
        """Yield the sums of the shards, for `example_digest`."""
        return map(str.encode, self.sums)


def prepared_source(split: Literal["train", "val"], data_dir: str | None) -> PreparedSource:
    """Open one split; compare the size and the ends of every shard with the manifest, not its sum.

    Raises:
        InputError: the folder is not a finished prepared set, it has no such split, a shard is missing or differs,
            or there are more than this process may open.
    """
    if data_dir is None:
        raise InputError("--dataset=prepared needs --data_dir=OUT, the folder that experiments.prepare wrote")
    root = Path(data_dir).expanduser()
    manifest = read_manifest(root)
    if split not in manifest["splits"]:
        raise InputError(f"{root} has no split {split}, only {', '.join(manifest['splits'])}; prepare it with --splits")
    shards = manifest["splits"][split]["shards"]
    check_shards(root, shards)
    make_room(len(shards), f"{root} {split}")
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    try:
        records = ArrayRecordDataSource([str(root / shard["file"]) for shard in shards])
        count = len(records)
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{root}: a shard of {split} is damaged ({reason}); copy it again, or prepare it again"
        ) from error
    if count != (expected := sum(shard["records"] for shard in shards)):
        raise InputError(f"{root}: {split} has {count} records instead of {expected}; prepare it again")
    sums = tuple(shard["sha256"] for shard in shards)
    return PreparedSource(records, tuple(manifest["class_names"]), f"{root} {split}", sums)
