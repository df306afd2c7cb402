"""What a data source is: examples by index, and the one that is held in memory."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from resnet_jax.errors import InputError


class Example(NamedTuple):
    """One labeled image.

    Attributes:
        image: the bytes of an image file, or the decoded image, uint8 [H,W,3].
        label: the class, 0 to K - 1.
        name: what an error message calls it, usually the file's path.
    """

    image: bytes | np.ndarray
    label: int
    name: str


class Source(Protocol):
    """Examples that can be read in any order, by any number of threads; pickles, for worker processes."""

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


def check_label(label: int, num_classes: int, name: str) -> int:
    """Return the label; JAX itself would train on one that is out of range without a word.

    Raises:
        InputError: it is not in 0 to num_classes - 1.
    """
    if not 0 <= label < num_classes:
        raise InputError(
            f"{name} has label {label}, but the set has {num_classes} classes (0 to {num_classes - 1}); "
            "the data are damaged or belong to another set"
        )
    return label
