"""Pictures with masks: ROOT/{train,val,test}/{images,masks}/STEM.*, or masks/CLASS/STEM.* of classes that overlap."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from resnet_jax.data.decode import UnreadableImage, decoded_size
from resnet_jax.data.notices import print_notice
from resnet_jax.data.prefetch import read_ahead
from resnet_jax.data.sources.image_files import image_extensions, images_in, listed, unread_line
from resnet_jax.data.sources.mask_coding import (
    IGNORE,
    Color,
    MaskCoding,
    coding_of_file,
    coding_of_values,
    read_mask,
)
from resnet_jax.data.sources.source import Example
from resnet_jax.data.sources.tfds_masks import PREFIX, tfds_masks
from resnet_jax.errors import InputError

CHUNK = 32  # masks that are read as one piece of work
LAYOUT = "ROOT/train/images/*.jpg with ROOT/train/masks/*.png, and the same in ROOT/val"


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


@dataclass(frozen=True)
class MaskFiles:
    """Picture files and their masks, by name.

    Attributes:
        folder: ROOT/SPLIT.
        images: names of the pictures, relative to `folder`.
        masks: for each picture the name of its mask; one a class, where classes have masks of their own.
        coding: of the masks.
    """

    folder: Path
    images: tuple[str, ...]
    masks: tuple[tuple[str, ...], ...]
    coding: MaskCoding

    @property
    def class_names(self) -> tuple[str, ...]:
        """K names."""
        return self.coding.class_names

    @property
    def place(self) -> str:
        """The folder."""
        return str(self.folder)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Example:
        """Return the picture's file, and as its label the mask: uint8 [H,W], or [H,W,K] of classes that overlap."""
        name = self.picture_name(index)
        return Example(_read(Path(name)), self.mask(index), name)

    def picture_name(self, index: int) -> str:
        """Return the path of a picture."""
        return str(self.folder / self.images[index])

    def mask_name(self, index: int) -> str:
        """Return the path of a picture's mask, the first of several."""
        return str(self.folder / self.masks[index][0])

    def raw_masks(self, index: int) -> list[tuple[np.ndarray, list[Color] | None]]:
        """Return the values of each mask of a picture, int32 [H,W], and its palette."""
        paths = [self.folder / name for name in self.masks[index]]
        return [read_mask(_read(path), str(path)) for path in paths]

    def mask(self, index: int) -> np.ndarray:
        """Return the labels of a picture: uint8 [H,W], or [H,W,K].

        Raises:
            InputError: a mask cannot be read, or has a value that is no class.
        """
        names = self.masks[index]
        raw = self.raw_masks(index)
        parts = [self.coding.labels(values, str(self.folder / n)) for (values, _), n in zip(raw, names, strict=True)]
        return np.stack(parts, axis=-1) if self.coding.binary else parts[0]

    def with_coding(self, coding: MaskCoding) -> "MaskFiles":
        """Return the same files, of other classes.

        Raises:
            InputError: their classes have masks of their own, and are others.
        """
        own = self.coding.class_names
        if own and own != coding.class_names:
            raise InputError(
                f"{self.folder} has masks of {', '.join(own)}, the network has {', '.join(coding.class_names)}"
            )
        return replace(self, coding=coding)

    def identity(self) -> Iterator[bytes]:
        """Yield the names of pictures and masks, for `example_digest`."""
        yield "\0".join(self.images).encode()
        yield "\0".join(name for names in self.masks for name in names).encode()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImage(f"{path}: {error.strerror}; restore it, or make it readable") from error


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
    if colors:
        return opened.with_coding(coding_of_file(Path(colors).expanduser(), void_value))
    if opened.class_names:  # every class has masks of its own
        return opened
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
    return _paired(Path(data_dir).expanduser() / split)


def _paired(folder: Path) -> MaskFiles:
    """Return the pictures of a split with their masks, whose coding is still to be found."""
    images, masks = folder / "images", folder / "masks"
    for path in (images, masks):
        if not path.is_dir():
            raise InputError(f"{path} is not a folder; --dataset=masks needs {LAYOUT}")
    unread: Counter[str] = Counter()
    pictures = _by_stem(images, unread)
    if not pictures:
        raise InputError(f"{images} holds no images{f' ({line})' if (line := unread_line(unread)) else ''}")
    classes = sorted(entry.name for entry in listed(masks) if entry.is_dir())
    found = [_by_stem(masks / name, unread) for name in classes] or [_by_stem(masks, unread)]
    for name, part in zip(classes or [""], found, strict=True):
        lacking = [stem for stem in pictures if stem not in part]
        if lacking:
            more = f", nor have {len(lacking) - 1} more" if lacking[1:] else ""
            raise InputError(
                f"{images / pictures[lacking[0]]} has no mask {masks / name / lacking[0]}.png{more}; add it, or remove "
                "the picture"
            )
        if spare := sorted(set(part) - set(pictures)):
            print_notice(f"{masks / name}: {len(spare):,} masks have no picture, the first {part[spare[0]]}")
    if line := unread_line(+unread):
        print_notice(f"{folder}: {line}")
    coding = MaskCoding(tuple(classes), (255,), (), tuple((255, 255, 255) for _ in classes), binary=bool(classes))
    stems = sorted(pictures)
    rows = tuple(
        tuple(str(Path("masks", name, part[stem])) for name, part in zip(classes or [""], found, strict=True))
        for stem in stems
    )
    return MaskFiles(folder, tuple(str(Path("images", pictures[stem])) for stem in stems), rows, coding)


def _by_stem(folder: Path, unread: Counter[str]) -> dict[str, str]:
    """Return the picture files directly in a folder by their names without ending.

    Raises:
        InputError: two have the same.
    """
    found: dict[str, str] = {}
    for name in images_in(folder, image_extensions(), unread, None):
        if os.sep in name:
            continue  # of a class that has a folder of its own
        stem = os.path.splitext(name)[0]
        if stem in found:
            raise InputError(f"{folder} holds {found[stem]} and {name}, which have one name; rename one of them")
        found[stem] = name
    return found


def _seen_coding(source: MaskSource, void_value: int) -> MaskCoding:
    """Return the coding that the values of all masks of a split imply, and print it."""
    values: set[int] = set()
    for part in read_ahead(_Values(source), 0):
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


@dataclass(frozen=True)
class _Values:
    """The values of the masks, CHUNK at a time."""

    source: MaskSource

    def __len__(self) -> int:
        return -(-len(self.source) // CHUNK)

    def __getitem__(self, index: int) -> dict[str, Any]:
        values: set[int] = set()
        for number in range(index * CHUNK, min((index + 1) * CHUNK, len(self.source))):
            values |= set(np.unique(self.source.raw_masks(number)[0][0]).tolist())
        return {"values": sorted(values)}


@dataclass(frozen=True)
class MaskFacts:
    """What is in the masks of a split.

    Attributes:
        pixels: int64 [K], of each class.
        beside: int64 [K], counted pixels of the pictures that have the class.
        sizes: int32 [N,2], heights and widths.
    """

    pixels: np.ndarray
    beside: np.ndarray
    sizes: np.ndarray


def check_masks(source: MaskSource, num_workers: int) -> MaskFacts:
    """Read every mask of a split, and the size of every picture, and refuse what cannot be used.

    Args:
        source: the split.
        num_workers: processes that read; 0 for threads of this one.

    Raises:
        InputError: a mask is damaged, has another size than its picture, or a value that is no class, or no pixel of it
            counts; or a worker process died.
    """
    parts = list(read_ahead(_Checks(source), num_workers))
    if problems := [problem for part in parts for problem in part["problems"]]:
        more = f"; and {len(problems) - 1} more of {len(source)} pictures" if problems[1:] else ""
        raise InputError(f"{problems[0]}{more}")
    pixels = np.concatenate([part["pixels"] for part in parts])
    counted = np.concatenate([part["counted"] for part in parts])
    return MaskFacts(
        pixels=pixels.sum(axis=0),
        beside=((pixels > 0) * counted[:, None]).sum(axis=0),
        sizes=np.concatenate([part["sizes"] for part in parts]),
    )


def absent_classes(facts: MaskFacts, class_names: Sequence[str]) -> list[str]:
    """Return the names of the classes without pixels."""
    return [name for name, count in zip(class_names, facts.pixels, strict=True) if not count]


@dataclass(frozen=True)
class _Checks:
    """Sizes, counts and problems of CHUNK masks at a time."""

    source: MaskSource

    def __len__(self) -> int:
        return -(-len(self.source) // CHUNK)

    def __getitem__(self, index: int) -> dict[str, Any]:
        numbers = range(index * CHUNK, min((index + 1) * CHUNK, len(self.source)))
        problems, pixels, counted, sizes = [], [], [], []
        for number in numbers:
            try:
                size, label = self._one(number)
            except InputError as error:
                problems.append(str(error))
                continue
            sizes.append(size)
            pixels.append(class_pixels(label, self.source.coding))
            counted.append((label != IGNORE).sum())
        classes = len(self.source.class_names)
        return {
            "problems": problems,
            "pixels": np.array(pixels, np.int64).reshape(-1, classes),
            "counted": np.array(counted, np.int64),
            "sizes": np.array(sizes, np.int32).reshape(-1, 2),
        }

    def _one(self, number: int) -> tuple[tuple[int, int], np.ndarray]:
        image, label, name = self.source[number]
        assert isinstance(image, bytes)
        assert isinstance(label, np.ndarray)
        size, path = decoded_size(image, name), self.source.mask_name(number)
        if label.shape[:2] != size:
            height, width = label.shape[:2]
            raise InputError(
                f"{path} is {width} x {height} pixels, its picture {name} {size[1]} x {size[0]}; make them alike"
            )
        if (label == IGNORE).all():
            raise InputError(f"{path} is all void: no pixel of it counts; remove it and its picture")
        return size, label


def class_pixels(label: np.ndarray, coding: MaskCoding) -> np.ndarray:
    """Return the pixels of each class in labels: int64 [K]."""
    if coding.binary:
        return (label == 1).sum(axis=(0, 1))
    return np.bincount(label.ravel(), minlength=IGNORE + 1)[: len(coding.class_names)]
