"""A check of all masks of a set before a run, and what is in them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from resnet_jax.data.file_headers import whole_size
from resnet_jax.data.prefetch import read_pieces
from resnet_jax.data.sources.mask_coding import MaskCoding
from resnet_jax.data.sources.masks import CHUNK, MaskSource
from resnet_jax.errors import InputError
from resnet_jax.runtime.batch import IGNORE


@dataclass(frozen=True)
class MaskFacts:
    """Pixels of each class in the masks of a split, and sizes of its pictures.

    Attributes:
        pixels: int64 [K], of each class.
        beside: int64 [K], counted pixels of the pictures that have the class.
        sizes: int32 [N,2], heights and widths.
    """

    pixels: np.ndarray
    beside: np.ndarray
    sizes: np.ndarray


def check_masks(source: MaskSource, num_workers: int) -> MaskFacts:
    """Read every mask of a split, and header and end of every picture, and refuse what cannot be used.

    Args:
        source: the split.
        num_workers: processes that read; 0 for threads of this one.

    Raises:
        InputError: a picture or a mask is damaged; a mask has another size than its picture, or a value that is no
            class, or no pixel of it counts; or a worker process died.
    """
    parts = list(read_pieces(_check, source, CHUNK, num_workers))
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


def content_digest(*splits: MaskFacts) -> str:
    """Return a hash of the pixels of each class in splits, which the names of the files do not tell: "sha256:…"."""
    digest = hashlib.sha256()
    for facts in splits:
        for values in (facts.pixels, facts.beside, facts.sizes):
            digest.update(values.astype("<i8").tobytes())
    return f"sha256:{digest.hexdigest()}"


def absent_classes(facts: MaskFacts, class_names: Sequence[str]) -> list[str]:
    """Return the names of the classes without pixels."""
    return [name for name, count in zip(class_names, facts.pixels, strict=True) if not count]


def _check(source: MaskSource, numbers: range) -> dict[str, Any]:
    """Return sizes, counts and problems of some of the masks."""
    problems, pixels, counted, sizes = [], [], [], []
    for number in numbers:
        try:
            size, label = _size_and_label(source, number)
        except InputError as error:
            problems.append(str(error))
            continue
        sizes.append(size)
        pixels.append(class_pixels(label, source.coding))
        counted.append((label != IGNORE).sum())
    classes = len(source.class_names)
    return {
        "problems": problems,
        "pixels": np.array(pixels, np.int64).reshape(-1, classes),
        "counted": np.array(counted, np.int64),
        "sizes": np.array(sizes, np.int32).reshape(-1, 2),
    }


def _size_and_label(source: MaskSource, number: int) -> tuple[tuple[int, int], np.ndarray]:
    image, label, name = source[number]
    assert isinstance(image, bytes)
    assert isinstance(label, np.ndarray)
    size, path = whole_size(image, name), source.mask_name(number)
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
