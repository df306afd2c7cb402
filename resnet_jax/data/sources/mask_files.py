"""Pictures with masks in folders: {images,masks}/STEM.*, or masks/CLASS/STEM.* of classes that overlap."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from resnet_jax.data.decode import UnreadableImage
from resnet_jax.data.notices import print_notice
from resnet_jax.data.sources.image_files import image_extensions, images_in, listed, unread_line
from resnet_jax.data.sources.mask_coding import Color, MaskCoding, read_mask
from resnet_jax.data.sources.source import Example
from resnet_jax.errors import InputError

LAYOUT = "ROOT/train/images/*.jpg with ROOT/train/masks/*.png, and the same in ROOT/val"


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
        return [read_mask(_read(path), str(path), self.coding.in_colors) for path in paths]

    def mask(self, index: int) -> np.ndarray:
        """Return the labels of a picture: uint8 [H,W], or [H,W,K].

        Raises:
            InputError: a mask cannot be read, or has a value that is not a class.
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
        if own and not coding.binary:
            raise InputError(f"{self.folder} has a mask for each class; the network's classes exclude each other")
        if len(self.masks[0]) != (len(coding.class_names) if coding.binary else 1):
            raise InputError(f"{self.folder} has one mask a picture; the network's classes have masks of their own")
        return replace(self, coding=coding)

    def identity(self) -> Iterator[bytes]:
        """Yield the names of pictures and masks, for `example_digest`."""
        yield os.fsencode("\0".join(self.images))
        yield os.fsencode("\0".join(name for names in self.masks for name in names))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImage(f"{path}: {error.strerror}; restore it, or make it readable") from error


def mask_files(folder: Path) -> MaskFiles:
    """Return the pictures of a split with their masks, whose coding is still to be found.

    Raises:
        InputError: a folder is missing or empty, or a picture has no mask.
    """
    images, masks = folder / "images", folder / "masks"
    for path in (images, masks):
        if not path.is_dir():
            raise InputError(f"{path} is not a folder; --dataset=masks needs {LAYOUT}")
    unread: Counter[str] = Counter()
    pictures = _by_stem(images, unread)
    if not pictures:
        raise InputError(f"{images} holds no images{f' ({line})' if (line := unread_line(unread)) else ''}")
    entries, extensions = listed(masks), image_extensions()
    classes = sorted(entry.name for entry in entries if entry.is_dir())
    stray = sorted(e.name for e in entries if e.is_file() and os.path.splitext(e.name)[1].lower() in extensions)
    found = [_by_stem(masks / name, unread) for name in classes] or [_by_stem(masks, unread)]
    if classes and stray:
        raise InputError(
            f"{masks} holds masks ({stray[0]}) and folders ({', '.join(classes[:3])}), which are "
            "for classes that overlap; keep only one of the two kinds"
        )
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
    coding = MaskCoding(tuple(classes), (255, 1), (), tuple((255, 255, 255) for _ in classes), binary=bool(classes))
    stems = sorted(pictures, key=lambda stem: os.path.splitext(pictures[stem])[0])
    rows = tuple(
        tuple(str(Path("masks", name, part[stem])) for name, part in zip(classes or [""], found, strict=True))
        for stem in stems
    )
    return MaskFiles(folder, tuple(str(Path("images", pictures[stem])) for stem in stems), rows, coding)


def _by_stem(folder: Path, unread: Counter[str]) -> dict[str, str]:
    """Return the picture files directly in a folder by their names without ending, in Unicode's composed form (NFC).

    Raises:
        InputError: two have the same.
    """
    found: dict[str, str] = {}
    for name in images_in(folder, image_extensions(), unread, None):
        if os.sep in name:
            if folder.name == "images":  # those of masks/ are of classes
                unread["in folders of their own"] += 1
            continue
        # Archives made on a Mac decompose accents in names.
        stem = unicodedata.normalize("NFC", os.path.splitext(name)[0])
        if stem in found:
            raise InputError(f"{folder} holds {found[stem]} and {name}, which have one name; rename one of them")
        found[stem] = name
    return found
