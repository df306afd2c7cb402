"""Images that two sets share but for their encoding, size or a mirror: what a network trained on, it need not see."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from resnet_jax.data.sources.source import Source, pixels_of

SIDE = 16  # pixels of a thumbnail; smaller images say too little
DIGITS = 5  # of a similarity
# Measured: the most alike of different photographs have 0.82 (imagenette, 37 million pairs) and 0.51 (hymenoptera, 243
# and 153). Copies of 350 photographs as JPEG of quality 50, as WebP of quality 40, at half the size, at 64 pixels, or
# 1.2 times as bright, have 0.91 or more, and as JPEG of quality 10 at least 0.86. The correlation of the thumbnails,
# which a horizon decides, is up to 0.975 between different photographs.
THRESHOLD = 0.85
MOST_IMAGES = 20_000  # of the larger set
_ROWS = 1024  # thumbnails that are compared with all others at once


@dataclass(frozen=True)
class NearDuplicate:
    """Two images that look alike.

    Attributes:
        first: index in the first set.
        second: index in the second set.
        similarity: of their outlines, THRESHOLD to 1.
    """

    first: int
    second: int
    similarity: float


@dataclass(frozen=True)
class NearDuplicates:
    """The near-duplicates of two sets.

    Attributes:
        pairs: the most alike, the most alike first.
        num_pairs: how many there are in all.
        num_second: images of the second set among them.
    """

    pairs: tuple[NearDuplicate, ...]
    num_pairs: int
    num_second: int


def near_duplicates(first: Source, second: Source, most: int = 1000) -> NearDuplicates:
    """Return the pairs of images that look alike, one from each set.

    Re-encoded, resized and mirrored copies are found; crops and turned ones are not.

    Args:
        first: such as the training images.
        second: such as the validation images.
        most: pairs that are returned: of pictures from one fixed camera, nearly all are alike.

    Raises:
        UnreadableImage: an image cannot be decoded.
    """
    ours, theirs = thumbnails(first), thumbnails(second)
    theirs, mirrored = outlines(theirs), outlines(theirs[:, :, ::-1])
    best: list[NearDuplicate] = []
    num_pairs, seen = 0, np.zeros(len(second), bool)
    for start in range(0, len(first), _ROWS):
        part = outlines(ours[start : start + _ROWS])
        # Products of equal vectors differ in their last digits, by the processor and the number of rows.
        similarity = np.minimum(np.maximum(part @ theirs.T, part @ mirrored.T), 1).round(DIGITS)
        alike = similarity >= THRESHOLD
        num_pairs += int(alike.sum())
        seen |= alike.any(axis=0)
        best += _most_alike(similarity, alike, start, most)
        best = sorted(best, key=lambda pair: (-pair.similarity, pair.first, pair.second))[:most]
    return NearDuplicates(tuple(best), num_pairs, int(seen.sum()))


def _most_alike(similarity: np.ndarray, alike: np.ndarray, start: int, most: int) -> list[NearDuplicate]:
    rows, columns = np.nonzero(alike)
    values = similarity[rows, columns]
    chosen = np.argsort(-values, kind="stable")[:most]
    return [NearDuplicate(start + int(rows[k]), int(columns[k]), float(values[k])) for k in chosen]


def thumbnails(source: Source) -> np.ndarray:
    """Return float32 [N,SIDE,SIDE], small gray images; of a single shade where the image is smaller than that."""
    with ThreadPoolExecutor() as threads:  # decoding and resizing leave Python's lock to others
        return np.stack(list(threads.map(lambda index: _thumbnail(pixels_of(source[index])), range(len(source)))))


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    if min(pixels.shape[:2]) < SIDE:
        return np.zeros((SIDE, SIDE), np.float32)
    gray = Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(gray, np.float32)


def outlines(gray: np.ndarray) -> np.ndarray:
    """Return vectors of length 1, whose products tell copies from other images.

    They are the differences of neighbors, whose roots keep a single strong edge from deciding. Of a single shade, all
    are zero, and like nothing.

    Args:
        gray: [N,SIDE,SIDE].

    Returns:
        float32 [N,2 SIDE (SIDE - 1)].
    """
    differences = (np.diff(gray, axis=axis).reshape(len(gray), -1) for axis in (1, 2))
    steps = np.concatenate(list(differences), axis=1)
    roots = np.sign(steps) * np.sqrt(np.abs(steps))
    length = np.linalg.norm(roots, axis=1, keepdims=True)
    return roots / np.where(length > 0, length, 1)
