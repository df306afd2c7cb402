"""Images that two sets share but for their encoding, size or a mirror: what a network trained on, it need not see."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from resnet_jax.data.decode import decode_image
from resnet_jax.data.sources.source import Source

SIDE = 16  # pixels of a thumbnail
THRESHOLD = 0.95
MOST_IMAGES = 20_000  # of the larger set
_ROWS = 1024  # thumbnails that are compared with all others at once


@dataclass(frozen=True)
class NearDuplicate:
    """Two images that look alike.

    Attributes:
        first: index in the first set.
        second: index in the second set.
        similarity: correlation of their thumbnails, THRESHOLD to 1.
    """

    first: int
    second: int
    similarity: float


def near_duplicates(first: Source, second: Source) -> list[NearDuplicate]:
    """Return the pairs of images that look alike, one from each set, the most alike first.

    Re-encoded, resized and mirrored copies are found; crops and turned ones are not.

    Args:
        first: such as the training images.
        second: such as the validation images.

    Raises:
        UnreadableImage: an image cannot be decoded.
    """
    ours, theirs = thumbnails(first), thumbnails(second)
    mirrored = np.ascontiguousarray(theirs.reshape(-1, SIDE, SIDE)[:, :, ::-1]).reshape(theirs.shape)
    return sorted(_pairs(ours, theirs, mirrored), key=lambda pair: (-pair.similarity, pair.first, pair.second))


def _pairs(ours: np.ndarray, theirs: np.ndarray, mirrored: np.ndarray) -> Iterator[NearDuplicate]:
    for start in range(0, len(ours), _ROWS):
        part = ours[start : start + _ROWS]
        similarity = np.maximum(part @ theirs.T, part @ mirrored.T)
        for i, j in zip(*np.nonzero(similarity >= THRESHOLD), strict=True):
            yield NearDuplicate(start + int(i), int(j), min(1.0, float(similarity[i, j])))


def thumbnails(source: Source) -> np.ndarray:
    """Return float32 [N,SIDE²]: small gray images of mean 0 and length 1, whose product is their correlation."""
    with ThreadPoolExecutor() as threads:  # decoding and resizing leave Python's lock to others
        rows = threads.map(lambda index: thumbnail(pixels_of(source, index)), range(len(source)))
        return np.stack(list(rows))


def pixels_of(source: Source, index: int) -> np.ndarray:
    """Return a whole image, uint8 [H,W,3]."""
    image, _, name = source[index]
    return image if isinstance(image, np.ndarray) else decode_image(image, name)


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Return the small gray image, float32 [SIDE²]; all zeros, like nothing else, where it has a single shade."""
    gray = Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    values = np.asarray(gray, np.float32).reshape(-1)
    values = values - values.mean()
    length = np.linalg.norm(values)
    return values / length if length > 0 else values
