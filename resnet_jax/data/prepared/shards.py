"""Atomic writes of records as array_record shards.

A shard is written under a temporary name, hashed, described in a note beside it, and renamed. After a kill the first
missing shard is next. In the end the notes become the manifest.
"""

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from resnet_jax.data.decode import UnreadableImage
from resnet_jax.data.prefetch import read_ahead
from resnet_jax.data.prepared.format import ends_sha256, pack, sha256
from resnet_jax.data.sources.source import Source
from resnet_jax.errors import InputError
from resnet_jax.files.atomic import write_atomically

SETTINGS = "preparation.json"  # of an unfinished set
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)  # a full disk, a used up quota
CHUNK = 32  # images that a worker encodes as one piece of work
Note = dict[str, Any]

# Most unreadable training images in a shard: 20, or a hundredth. More is a damaged data set, not a few damaged files.
MAX_UNREADABLE = 20


def write_split(
    out: Path, split: str, source: Source, encode: Callable[[bytes, str], bytes], shard_size: int, num_workers: int
) -> list[Note]:
    """Write the missing shards of a split.

    Args:
        out: folder of the set.
        split: "train", of which unreadable images are left out, or another, where one is an error.
        source: the images.
        encode: (image file, name) -> image file; must pickle.
        shard_size: images a shard.
        num_workers: processes that encode; 0 for threads of this one.

    Returns:
        of every shard {"file", "records", "bytes", "sha256", "ends", "skipped": why images were left out}.

    Raises:
        InputError: an image is unreadable, or too many are.
        OSError: it cannot be written; of a full disk, with an `errno` of NO_ROOM.
    """
    (out / split).mkdir(exist_ok=True)
    count = -(-len(source) // shard_size)
    files = [f"{split}/{shard:05d}-of-{count:05d}.array_record" for shard in range(count)]
    todo = [shard for shard, file in enumerate(files) if read_note(out / file) is None]
    chunks_of = {shard: chunks_in(shard, shard_size, len(source)) for shard in todo}
    chunks = tuple(chain.from_iterable(chunks_of.values()))
    done = len(source) - sum(map(len, chunks))
    bar = tqdm(total=len(source), initial=done, desc=split, unit="image", disable=None, dynamic_ncols=True)
    with closing(bar), closing(read_ahead(_Chunks(source, encode, chunks, split == "train"), num_workers)) as made:
        for shard, mine in chunks_of.items():
            write_shard(out, files[shard], islice(made, len(mine)), bar.update)
    return [note for file in files if (note := read_note(out / file)) is not None]


def chunks_in(shard: int, shard_size: int, count: int) -> list[range]:
    """Return the numbers of a shard's images, of `count` in the set, a piece of work each."""
    first, end = shard * shard_size, min((shard + 1) * shard_size, count)
    return [range(start, min(start + CHUNK, end)) for start in range(first, end, CHUNK)]


def write_shard(out: Path, file: str, chunks: Iterator[Note], progress: Callable[[int], Any]) -> None:
    """Write one shard and its note.

    Args:
        out: folder of the set.
        file: the shard's path in it.
        chunks: {"records": bytes of each, "skipped": why images were left out}.
        progress: receives how many images were done.

    Raises:
        InputError: too many images are unreadable.
        OSError: it cannot be written; of a full disk, with an `errno` of NO_ROOM.
    """
    from array_record.python.array_record_module import ArrayRecordWriter

    path = out / file
    temporary = path.with_name(path.name + ".tmp")
    skipped: list[str] = []
    count = 0
    # One record a group, so that each image can be read alone; JPEGs are not compressed again.
    with _named_by_errno():
        writer = ArrayRecordWriter(str(temporary), "group_size:1,uncompressed")
    try:
        for chunk in chunks:
            for record in chunk["records"]:
                with _named_by_errno():
                    writer.write(record)
            count += len(chunk["records"])
            skipped += chunk["skipped"]
            progress(len(chunk["records"]) + len(chunk["skipped"]))
            if len(skipped) > max(MAX_UNREADABLE, (count + len(skipped)) // 100):
                raise InputError(f"{len(skipped)} unreadable images in one shard, the last: {skipped[-1]}")
    finally:
        with _named_by_errno():
            writer.close()
    if not count:
        raise InputError(f"no image of {file} can be read, the last: {skipped[-1]}")
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    note = {
        "file": file,
        "records": count,
        "bytes": temporary.stat().st_size,
        "sha256": sha256(temporary),
        "ends": ends_sha256(temporary),
        "skipped": skipped,
    }
    write_atomically(note_path(path), json.dumps(note))
    temporary.replace(path)
    for message in skipped:
        tqdm.write(f"left out: {message}")


def note_path(path: Path) -> Path:
    """Return the path of a shard's note."""
    return path.with_name(path.name + ".json")


def read_note(path: Path) -> Note | None:
    """Return the note of a shard whose size is as written, None where the shard has to be written."""
    note = note_path(path)
    if not (path.is_file() and note.is_file()):
        return None
    try:
        content = json.loads(note.read_text("utf-8"))
        return content if path.stat().st_size == content["bytes"] else None
    except (ValueError, KeyError, TypeError):  # damaged: the shard is written again
        return None


def clean(out: Path, files: list[str]) -> None:
    """Remove the settings and the shards' notes, which only an unfinished set needs."""
    (out / SETTINGS).unlink(missing_ok=True)
    for file in files:
        note_path(out / file).unlink(missing_ok=True)


@contextmanager
def _named_by_errno() -> Iterator[None]:
    """Raise a failed write of array_record, a RuntimeError whose text names the reason, as an OSError with `errno`."""
    try:
        yield
    except RuntimeError as error:
        text = str(error).partition("\n")[0]
        codes = [code for code in NO_ROOM if os.strerror(code) in text]
        raise OSError(*codes[:1], text) from error


@dataclass(frozen=True)
class _Chunks:
    """Records of a few images each, by number."""

    source: Source
    encode: Callable[[bytes, str], bytes]
    chunks: tuple[range, ...]
    may_skip: bool

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, index: int) -> Note:
        records, skipped = [], []
        for number in self.chunks[index]:
            try:
                image, label, name = self.source[number]
                assert isinstance(image, bytes)
                records.append(pack(self.encode(image, name), label, name))
            except UnreadableImage as error:
                if not self.may_skip:
                    raise error.with_resume_hint() from error
                skipped.append(str(error))
        return {"records": records, "skipped": skipped}
