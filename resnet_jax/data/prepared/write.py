"""Preparation of a set from a folder or a TFDS set: its images re-encoded small, in shards.

Equal images and settings give equal shards and an equal manifest, whether the run was killed in between or not.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import simplejpeg

from resnet_jax.data.augment.resize import resize_short_side
from resnet_jax.data.decode import UnreadableImage, decode_image, is_plain_jpeg
from resnet_jax.data.prepared.format import FORMAT, MANIFEST, check_shards, read_manifest
from resnet_jax.data.prepared.shards import NO_ROOM, SETTINGS, clean, write_split
from resnet_jax.data.sources.folder import FolderSource
from resnet_jax.data.sources.held_out import FolderRule
from resnet_jax.data.sources.load import has_masks, load_source
from resnet_jax.data.sources.own_pictures import is_csv
from resnet_jax.data.sources.source import ArraySource, Source
from resnet_jax.errors import InputError
from resnet_jax.files.atomic import write_atomically
from resnet_jax.files.lock import LOCK, lock_folder

Split = Literal["train", "val"]

MOST_JPEG_PIXELS = 65_500  # a side, of libjpeg


@dataclass(frozen=True)
class Encoding:
    """The encoding of the stored images.

    Attributes:
        short_side: of the larger images, pixels. A smaller one keeps its size, and its bytes if it is a JPEG.
        quality: of the JPEG, 1 to 100.
        subsampling: "420" halves the resolution of color, as most JPEGs do; "444" keeps it, in files a quarter larger.
        shard_size: images a shard.
    """

    short_side: int = 256
    quality: int = 90
    subsampling: Literal["420", "444"] = "420"
    shard_size: int = 1024

    def __call__(self, data: bytes, name: str) -> bytes:
        """Return an image file, re-encoded.

        Raises:
            UnreadableImage: it cannot be decoded.
        """
        image = decode_image(data, name)
        if min(image.shape[:2]) > self.short_side:
            # Bilinear, as evaluation resizes: at its usual 256 pixels its input is then the same.
            image = resize_short_side(image, self.short_side, "bilinear")
        elif is_plain_jpeg(data, name):
            return data
        if max(image.shape[:2]) > MOST_JPEG_PIXELS:
            size = f"{image.shape[1]} x {image.shape[0]} pixels"
            raise UnreadableImage(
                f"{name}: stored with {size}, and a JPEG has {MOST_JPEG_PIXELS:,} a side at most; crop it"
            )
        image = np.ascontiguousarray(image)
        return simplejpeg.encode_jpeg(image, self.quality, "RGB", self.subsampling, fastdct=False)


def prepare(
    dataset: str,
    data_dir: str | None,
    out: Path,
    encoding: Encoding,
    splits: tuple[Split, ...] = ("train", "val"),
    num_workers: int = 0,
    links_out: bool = False,
) -> dict[str, Any]:
    """Write the set, or what is missing of it; return the manifest.

    Args:
        dataset: as of `load_source`: a folder or a TFDS set.
        data_dir: where it is.
        out: the folder to write; empty, or holding an unfinished set of the same settings.
        encoding: how the images are stored.
        splits: which of them.
        num_workers: processes that encode; 0 for threads of this one.
        links_out: read symbolic links that leave the folder of the data.

    Raises:
        InputError: the settings or the data cannot be used, the folder holds something else or another process writes
            in it, an image of the validation set or too many of training are unreadable, or the disk is full.
    """
    check_encoding(encoding)
    if has_masks(dataset):
        raise InputError(f"--dataset={dataset}: pictures with masks are not prepared; experiments.segment reads them")
    rule = FolderRule(links_out=links_out)
    sources = {split: load_source(dataset, split, data_dir, 0, rule) for split in splits}
    if any(isinstance(source, ArraySource) for source in sources.values()):
        raise InputError(f"--dataset={dataset} is small and held in memory as it is; prepare photographs")
    settings = {
        "format": FORMAT,
        "dataset": dataset,
        "splits": list(splits),
        **asdict(encoding),
        **{f"{split}_images": len(source) for split, source in sources.items()},
        "source": origin_of(data_dir, sources),
    }
    if (out / MANIFEST).exists():
        return finished(out, settings)
    refuse_occupied(out)
    try:
        with lock_folder(out, "--out", "is preparing a set in it"):
            return write(out, settings, sources, encoding, num_workers)
    except OSError as error:
        remedy = "; make room, then the same command continues" if error.errno in NO_ROOM else ""
        raise InputError(f"cannot write to {out}: {error}{remedy}") from error


def write(
    out: Path, settings: dict[str, Any], sources: dict[Split, Source], encoding: Encoding, num_workers: int
) -> dict[str, Any]:
    """Write the set, or what is missing of it, into a locked folder; return the manifest.

    Raises:
        InputError: as `prepare`.
        OSError: as `write_split`.
    """
    if (out / MANIFEST).exists():  # by the process that held the lock when we looked first
        return finished(out, settings)
    begin(out, settings)
    # Validation first: one of its images that cannot be read is found before hours of encoding.
    written = {
        split: write_split(out, split, sources[split], encoding, encoding.shard_size, num_workers)
        for split in sorted(sources, key="val".__ne__)
    }
    shards = {split: written[split] for split in sources}
    manifest = settings | {
        "class_names": list(next(iter(sources.values())).class_names),
        "skipped": list(chain(*(note.pop("skipped") for notes in shards.values() for note in notes))),
        "splits": {split: {"shards": notes} for split, notes in shards.items()},
    }
    write_atomically(out / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    clean(out, shard_files(manifest))
    return manifest


def origin_of(data_dir: str | None, sources: dict[Split, Source]) -> str:
    """Return what tells these data from others of the same length.

    Returns:
        "sha256:…" of the classes' and the files' names of folders, which may be moved, and of the labels of a CSV file;
        of other data, where they are.
    """
    digest = hashlib.sha256()
    for split, source in sources.items():
        if not isinstance(source, FolderSource):
            return str(Path(data_dir).expanduser().resolve()) if data_dir else "default"
        digest.update(json.dumps([split, source.class_names]).encode())
        digest.update(b"\0".join(source.files))
        if is_csv(data_dir):
            digest.update(source.labels.astype("<i4").tobytes())
    return f"sha256:{digest.hexdigest()}"


def check_encoding(encoding: Encoding) -> None:
    """Refuse settings that make no images.

    Raises:
        InputError: a setting is out of its range.
    """
    for name, value, low, high in (
        ("short_side", encoding.short_side, 16, 4096),
        ("quality", encoding.quality, 1, 100),
        ("shard_size", encoding.shard_size, 1, 2**20),
    ):
        if not low <= value <= high:
            raise InputError(f"--{name}={value} must be {low} to {high}")


def finished(out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest of a finished set of these settings.

    Raises:
        InputError: it has others, or its shards differ from the manifest.
    """
    manifest = read_manifest(out)
    refuse_others(out, manifest, settings)
    for split in manifest["splits"].values():
        check_shards(out, split["shards"])
    clean(out, shard_files(manifest))
    return manifest


def shard_files(manifest: dict[str, Any]) -> list[str]:
    """Return the paths of all shards, in the folder."""
    return [shard["file"] for split in manifest["splits"].values() for shard in split["shards"]]


def refuse_occupied(out: Path) -> None:
    """Refuse a folder that holds anything but an unfinished set.

    Raises:
        InputError: it does.
    """
    if not out.is_dir() or (out / SETTINGS).exists():
        return
    # A set that was killed at its first step has no more than its lock and temporary files.
    names = [entry.name for entry in out.iterdir()]
    if any(name != LOCK and not name.endswith(f".{SETTINGS}") for name in names):
        raise InputError(f"--out={out} holds something else; take an empty folder")


def begin(out: Path, settings: dict[str, Any]) -> None:
    """Begin a set of these settings in a folder, or check that the unfinished one there has them.

    Raises:
        InputError: it holds one of others.
    """
    path = out / SETTINGS
    if path.exists():
        try:
            begun = json.loads(path.read_text("utf-8"))
            begun["splits"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is damaged ({error}); remove {out} and begin again") from error
        refuse_others(out, begun, settings)
    else:
        write_atomically(path, json.dumps(settings) + "\n")


def refuse_others(out: Path, there: dict[str, Any], settings: dict[str, Any]) -> None:
    """Refuse a set of other settings.

    Raises:
        InputError: they differ; names the first.
    """
    for name, value in settings.items():
        found = list(there["splits"]) if name == "splits" else there.get(name)
        if name == "source" and found != value:
            raise InputError(f"--out={out} holds a set of other data, {found}, not {value}; take another folder")
        if found != value:
            raise InputError(f"--out={out} holds a set with {name}={found}, not {value}; take another folder")
