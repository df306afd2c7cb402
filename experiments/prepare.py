"""Re-encode a folder of photographs or a TFDS set into shards that decode several times faster.

    python -m experiments.prepare --data_dir=ROOT --out=OUT
    python -m experiments.prepare --dataset=imagenet2012 --out=OUT --short_side=256 --quality=90
    python -m experiments.prepare --check --out=OUT
    python -m experiments.imagenet --dataset=prepared --data_dir=OUT

The same command again continues where it was stopped. OUT/manifest.json, written last, has the SHA-256 of every shard:
reading compares sizes, --check the sums. It lists the training images that could not be read and were left out.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from resnet_jax.cli import parse_options, refuse_given, run_command
from resnet_jax.data.loader import worker_count
from resnet_jax.data.prepared.format import check_shards, check_sum, read_manifest
from resnet_jax.data.prepared.write import Encoding, Split, prepare
from resnet_jax.errors import InputError

NAMED = 5  # damaged shards in an error
PREPARING_OPTIONS = ("dataset", "data_dir", "links_out", "splits", "short_side", "quality", "subsampling", "shard_size")
SPLITS: tuple[Split, ...] = ("train", "val")


@dataclass(frozen=True)
class Options:
    """Options."""

    out: str
    """Folder of the prepared set: empty, or begun with the same settings"""
    dataset: str = "folder"
    """folder, or the name of a TensorFlow Datasets set that is prepared as array_record"""
    data_dir: str = ""
    """Folder with train/CLASS/ and val/CLASS/, or of the TFDS data"""
    links_out: bool = False
    """Read symbolic links that leave --data_dir"""
    splits: str = "train,val"
    """Splits to write, separated by commas"""
    short_side: int = 256
    """Shorter side of the images, pixels; smaller ones keep their size"""
    quality: int = 90
    """JPEG quality, 1 to 100"""
    subsampling: Literal["420", "444"] = "420"
    """Chroma subsampling: 420 as in most JPEGs; 444 keeps all color, in larger files that decode slower"""
    shard_size: int = 1024
    """Images a shard, which is the most that is repeated after a kill"""
    num_workers: int = -1
    """Encoding processes. 0: threads; -1: one for every core but one, at most 16"""
    check: bool = False
    """Write nothing; compare every shard of --out with its SHA-256"""


def main(argv: Sequence[str]) -> None:
    """Prepare a data set, or check one."""
    options = parse_options(Options, argv, "prepare", __doc__)
    out = Path(options.out)
    if options.check:
        refuse_given(options, PREPARING_OPTIONS, "for preparing a set, and --check writes nothing")
        print(f"{out}: {check(out)} shards are as they were written")
        return
    splits = tuple(split for split in SPLITS if split in options.splits.split(","))
    if wrong := sorted({*options.splits.split(",")} - {*SPLITS}):
        raise InputError(f"--splits={options.splits}: there is no split {wrong[0]!r}; take train, val or train,val")
    encoding = Encoding(options.short_side, options.quality, options.subsampling, options.shard_size)
    workers, links_out = worker_count(options.num_workers), options.links_out
    manifest = prepare(options.dataset, options.data_dir or None, out, encoding, splits, workers, links_out)
    for name, split in manifest["splits"].items():
        images, size = (sum(shard[field] for shard in split["shards"]) for field in ("records", "bytes"))
        print(f"{name}: {images:,} images, {size / 2**20:,.1f} MiB in {len(split['shards'])} shards")
    folder = shlex.quote(str(out))
    print(f"{len(manifest['skipped'])} images were left out; train on it with --dataset=prepared --data_dir={folder}")


def check(out: Path) -> int:
    """Compare every shard with its sum, and return their number.

    Raises:
        InputError: shards are missing or damaged; the first are named.
    """
    splits = read_manifest(out)["splits"].values()
    shards = [shard for split in splits for shard in split["shards"]]
    bad = [s["file"] for s in tqdm(shards, unit="shard", disable=None, dynamic_ncols=True) if not is_whole(out, s)]
    if bad:
        more = f" and {len(bad) - NAMED} more" if bad[NAMED:] else ""
        raise InputError(
            f"{out}: {len(bad)} of {len(shards)} shards are missing or damaged: {', '.join(bad[:NAMED])}{more}; "
            "copy them again, or prepare the set in a new folder"
        )
    return len(shards)


def is_whole(out: Path, shard: dict[str, Any]) -> bool:
    """Return whether a shard exists as it was written."""
    try:
        check_shards(out, [shard])
        check_sum(out, shard)
    except (InputError, OSError):  # a damaged disk cannot be read at all
        return False
    return True


if __name__ == "__main__":
    run_command(main)
