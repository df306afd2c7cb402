"""Data sources: examples by index, the source that is held in memory, and a digest of the examples."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from resnet_jax.data.decode import decode_image
from resnet_jax.data.notices import print_notice
from resnet_jax.errors import InputError


class Example(NamedTuple):
    """One labeled image.

    Attributes:
        image: the bytes of an image file, or the decoded image, uint8 [H,W,3].
        label: the class, 0 to K - 1; or a mask, uint8 [H,W] or [H,W,K] (`mask_coding`).
        name: in error messages, usually the file's path.
    """

    image: bytes | np.ndarray
    label: Any
    name: str


def pixels_of(example: Example) -> np.ndarray:
    """Return the whole image of an example, uint8 [H,W,3].

    Raises:
        UnreadableImage: it cannot be decoded.
    """
    image = example.image
    return image if isinstance(image, np.ndarray) else decode_image(image, example.name)


class Source(Protocol):
    """Examples that can be read in any order, by any number of threads; pickles, for worker processes.

    A source may have an attribute `intact`, True where its image files are known to be whole (`decode_part`), and a
    method `identity`, for `example_digest`.
    """

    @property
    def class_names(self) -> tuple[str, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...


@dataclass(frozen=True)
class ArraySource:
    """A data set held in memory.

    Attributes:
        images: uint8 [N,H,W,3].
        labels: int32 [N].
        class_names: K names.
        length: how many examples it has, N or more: beyond N they repeat.

    Raises:
        InputError: the labels are not one for each image, or one is not a class.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    length: int

    def __post_init__(self):
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or self.images.shape[-1] != 3:
            raise InputError(f"images must be uint8 [N,H,W,3], not {self.images.dtype} {self.images.shape}")
        if self.labels.shape != self.images.shape[:1]:
            raise InputError(f"{len(self.images)} images have labels of shape {self.labels.shape}")
        for index in np.flatnonzero((self.labels < 0) | (self.labels >= len(self.class_names)))[:1]:
            check_label(int(self.labels[index]), len(self.class_names), f"example {index}")

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < self.length:
            raise IndexError(index)
        stored = index % len(self.images)
        return Example(self.images[stored], int(self.labels[stored]), f"example {index}")

    def identity(self) -> Iterator[bytes | memoryview]:
        """Yield the pixels and the labels, for `example_digest`."""
        yield json.dumps(self.images.shape).encode()
        yield np.ascontiguousarray(self.images).data.cast("B")  # no copy: a set may be half of the memory
        yield self.labels.astype("<i4").tobytes()


def example_digest(source: Source) -> str:
    """Return a hash that tells the examples of a source from others, without decoding an image.

    It covers the class names, the number of examples, and: the names and labels of files in a folder (which may be
    moved as a whole), the pixels and labels of an array set, the sums of a prepared set's shards, the name, version and
    shards of a TFDS set.

    Returns:
        "sha256:…".
    """
    digest = hashlib.sha256(json.dumps([len(source), *source.class_names]).encode())
    for part in getattr(source, "identity", tuple)():
        digest.update(len(part).to_bytes(8))  # so that two parts cannot be read as one
        digest.update(part)
    return f"sha256:{digest.hexdigest()}"


def labels_of(source: Source) -> np.ndarray:
    """Return the labels of all examples: int32 [N]. A set that holds them with its images is read from end to end."""
    labels = getattr(source, "labels", None)
    if labels is None:
        print_notice(f"reading the labels of {len(source):,} examples")
        return np.array([source[index].label for index in range(len(source))], np.int32)
    return labels if len(labels) == len(source) else np.resize(labels, len(source))  # an array set may repeat


def check_label(label: int, num_classes: int, name: str) -> int:
    """Return the label if it is in range; JAX itself would train on any.

    Raises:
        InputError: it is not in 0 to num_classes - 1.
    """
    if not 0 <= label < num_classes:
        raise InputError(
            f"{name} has label {label}, but the set has {num_classes} classes (0 to {num_classes - 1}); "
            "the data are damaged or belong to another set"
        )
    return label
