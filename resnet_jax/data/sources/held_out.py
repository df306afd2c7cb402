"""Validation images of pictures without splits, or of a cross-validation, chosen by the hash of their names."""

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from resnet_jax.data.sources.folder import FolderSource
from resnet_jax.errors import InputError


@dataclass(frozen=True)
class FolderRule:
    """Rule by which one's own pictures are read, and split for training and validation; by default as they lie.

    Attributes:
        val_fraction: part of every class that is for validation, in (0, 1); 0: none.
        folds: parts of a cross-validation, 2 or more; 0: none.
        fold: the part that is for validation, 0 to folds - 1.
        links_out: read symbolic links that leave the folder.
    """

    val_fraction: float = 0.0
    folds: int = 0
    fold: int = 0
    links_out: bool = False

    @property
    def option(self) -> str:
        """The option that asks for it; empty of pictures that have their splits."""
        if self.folds:
            return f"--folds={self.folds}"
        return f"--val_fraction={self.val_fraction}" if self.val_fraction else ""


def held_out_split(source: FolderSource, split: Literal["train", "val"], fraction: float) -> FolderSource:
    """Return one split of pictures that have none, class by class: new images do not move old ones.

    Exception: if none or all of a class's images would be for validation, the one closest to the threshold is moved.

    Args:
        source: all images.
        split: "train", or "val": about `fraction` of every class, and one image at least.
        fraction: in (0, 1).

    Raises:
        InputError: a class has a single image, so that none would be left to train on.
    """
    chosen = np.zeros(len(source), bool)
    by_class = np.argsort(source.labels, kind="stable")
    ends = np.searchsorted(source.labels[by_class], np.arange(1, len(source.class_names)))
    for name, rows in zip(source.class_names, np.split(by_class, ends), strict=True):
        if len(rows) < 2:
            raise InputError(
                f"--val_fraction={fraction}: class {name!r} has one image, and training and validation need one each; "
                "add some, or remove the class"
            )
        positions = positions_of(source.files[rows])
        held = positions < fraction
        held[positions.argmin()] = True
        held[positions.argmax()] = False
        chosen[rows] = held
    return part_of(source, chosen if split == "val" else ~chosen)


def fold_split(source: FolderSource, split: Literal["train", "val"], folds: int, fold: int) -> FolderSource:
    """Return one split of a cross-validation: every image is for validation in exactly one fold.

    The parts, and the images of each class in them, are equally many, to within one.

    Args:
        source: all images.
        split: "val", a part of them, or "train", the others.
        folds: parts, 2 or more.
        fold: the part that is for validation, from 0.

    Raises:
        InputError: a class has fewer images than there are parts.
    """
    counts = np.bincount(source.labels, minlength=len(source.class_names))
    if few := np.flatnonzero(counts < folds).tolist():
        more = f" (and {len(few) - 1} more classes have too few)" if few[1:] else ""
        raise InputError(
            f"--folds={folds}: class {source.class_names[few[0]]!r} has {counts[few[0]]} images, and each part needs "
            f"one{more}; add some, remove the class, or take fewer folds"
        )
    part = np.empty(len(source), np.int64)
    # Counted on from class to class: the first part would get one more of every class otherwise.
    part[np.lexsort((positions_of(source.files), source.labels))] = np.arange(len(source)) % folds
    return part_of(source, part == fold if split == "val" else part != fold)


def part_of(source: FolderSource, kept: np.ndarray) -> FolderSource:
    """Return the images of a source that `kept`, boolean [N], names."""
    return replace(source, files=source.files[kept], labels=source.labels[kept])


def positions_of(files: np.ndarray) -> np.ndarray:
    """Return a number in [0, 1) of each path, drawn by its hash: float64 [N]."""
    digests = [hashlib.sha256(b"val\0" + file).digest() for file in files]
    return np.array([int.from_bytes(digest[:8]) / 2**64 for digest in digests])
