"""Validation images of a folder without splits, chosen by their names: new images never move old ones."""

import hashlib
from dataclasses import replace
from typing import Literal

import numpy as np

from resnet_jax.data.sources.folder import FolderSource
from resnet_jax.errors import InputError


def held_out_split(source: FolderSource, split: Literal["train", "val"], fraction: float) -> FolderSource:
    """Return one split of a folder whose images are divided by the hash of their names, class by class.

    Args:
        source: all images.
        split: "train", or "val": about `fraction` of every class, and one image at least.
        fraction: in (0, 1).

    Raises:
        InputError: a class has a single image, or none would be left to train on.
    """
    chosen = np.zeros(len(source), bool)
    for label, name in enumerate(source.class_names):
        (rows,) = np.nonzero(source.labels == label)
        if len(rows) < 2:
            raise InputError(
                f"--val_fraction={fraction}: class {name!r} has one image, and training and validation need one each; "
                "add some, or remove the class"
            )
        positions = np.array([position_of(source.files[row]) for row in rows])
        held = positions < fraction
        held[positions.argmin()] = True
        held[positions.argmax()] = False
        chosen[rows] = held
    kept = chosen if split == "val" else ~chosen
    return replace(source, files=source.files[kept], labels=source.labels[kept])


def position_of(file: bytes) -> float:
    """Return a number in [0, 1), drawn by the hash of a path, CLASS/NAME."""
    return int.from_bytes(hashlib.sha256(b"val\0" + file).digest()[:8]) / 2**64
