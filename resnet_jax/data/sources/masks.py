"""Pictures with masks by name: files in folders, or a set of TensorFlow Datasets; and what their classes are."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from resnet_jax.data.notices import print_notice
from resnet_jax.data.prefetch import read_pieces
from resnet_jax.data.sources.mask_coding import Color, MaskCoding, coding_of_file, coding_of_values
from resnet_jax.data.sources.mask_files import LAYOUT, mask_files
from resnet_jax.data.sources.source import Example
from resnet_jax.data.sources.tfds_masks import PREFIX, tfds_masks
from resnet_jax.errors import InputError
from resnet_jax.runtime.batch import IGNORE

CHUNK = 32  # masks that are read as one piece of work


class MaskSource(Protocol):
    """Pictures with masks, by index; pickles, for worker processes."""

    @property
    def coding(self) -> MaskCoding: ...

    @property
    def place(self) -> str: ...

    @property
    def class_names(self) -> tuple[str, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...

    def picture_name(self, index: int) -> str: ...

    def mask_name(self, index: int) -> str: ...

    def raw_masks(self, index: int) -> list[tuple[np.ndarray, list[Color] | None]]: ...

    def mask(self, index: int) -> np.ndarray: ...

    def with_coding(self, coding: MaskCoding) -> "MaskSource": ...


def mask_source(
    split: Literal["train", "val", "test"],
    data_dir: str | None,
    colors: str = "",
    void_value: int = IGNORE,
    name: str = "masks",
) -> MaskSource:
    """Open one split.

    Args:
        split: of the set.
        data_dir: ROOT; of TFDS its folder, None for the usual one.
        colors: a file that names the classes (`coding_of_file`). Empty: they are the values of the training masks.
        void_value: that does not count, of masks without colors.
        name: "masks" for files in ROOT, "masks:NAME" for a set of TFDS.

    Raises:
        InputError: a folder is missing, a picture has no mask, or the masks' classes cannot be known.
    """
    opened = open_masks_uncoded(split, data_dir, name)
    if opened.class_names:  # every class has masks of its own
        if colors:
            raise InputError(f"--colors={colors}: the masks in {opened.place} are in folders of classes; leave it out")
        coding = opened.coding
        void = () if void_value in (0, *coding.values) else (void_value,)
        return opened.with_coding(replace(coding, void=void))
    if colors:
        return opened.with_coding(coding_of_file(Path(colors).expanduser(), void_value))
    own = split == "train" or (name == "masks" and not (Path(data_dir or "").expanduser() / "train").is_dir())
    guessed = opened if own else open_masks_uncoded("train", data_dir, name)
    return opened.with_coding(_seen_coding(guessed, void_value))


def open_masks_uncoded(split: Literal["train", "val", "test"], data_dir: str | None, name: str) -> MaskSource:
    """Open one split, whose classes are still to be found unless they have masks of their own.

    Raises:
        InputError: a folder is missing, or a picture has no mask.
    """
    if name.startswith(PREFIX):
        if split == "test":
            raise InputError(f"--split=test: --dataset={name} has the splits train and val; take --split=val")
        return tfds_masks(name.removeprefix(PREFIX), split, data_dir)
    if data_dir is None:
        raise InputError(f"--dataset=masks needs --data_dir=ROOT with {LAYOUT}")
    return mask_files(Path(data_dir).expanduser() / split)


def _seen_coding(source: MaskSource, void_value: int) -> MaskCoding:
    """Return the coding that the values of all masks of a split imply, and print it."""
    values: set[int] = set()
    for part in read_pieces(_values, source, CHUNK, 0):
        values |= set(part["values"])
        if len(values) > 256 or (values and max(values) > 255):
            raise InputError(f"the masks in {source.place} are in colors; name the classes, --colors=FILE")
    coding = coding_of_values(sorted(values), source.raw_masks(0)[0][1], void_value)
    if coding.binary:
        what = f"one class, foreground, of value {coding.values[0]}"
    else:
        void = f", and {void_value} does not count" if void_value in values else ""
        what = f"{len(coding.class_names)} classes, values 0 to {coding.values[-1]}{void}"
    print_notice(f"the masks in {source.place}: {what}; --colors=FILE names them")
    return coding


def _values(source: MaskSource, numbers: range) -> dict[str, Any]:
    """Return the values of some of the masks."""
    values: set[int] = set()
    for number in numbers:
        values |= set(np.unique(source.raw_masks(number)[0][0]).tolist())
    return {"values": sorted(values)}
