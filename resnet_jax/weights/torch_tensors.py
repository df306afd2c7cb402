"""Tensors of PyTorch's files as descriptions, whose numbers are read only once their size is known."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import ml_dtypes
import numpy as np

DTYPES = {
    **{name: np.dtype(name) for name in ("float64", "float32", "float16", "complex64", "complex128", "bool")},
    **{f"{sign}int{bits}": np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)},
    **{
        name: np.dtype(getattr(ml_dtypes, name))
        for name in ("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu")
    },
}


class Tensor(Protocol):
    """A tensor whose numbers are not read yet."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Type of the numbers."""
        ...

    def read(self) -> np.ndarray:
        """Return the numbers."""
        ...


@dataclass(eq=False)
class Storage:
    """The numbers that one or several tensors share.

    Attributes:
        dtype: of the numbers.
        load: returns them as bytes; None in an old file until its end is reached.
    """

    dtype: np.dtype
    load: Callable[[], bytes] | None = None


@dataclass(eq=False)
class Strided:
    """A dense tensor: a view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype

    def read(self) -> np.ndarray:
        """Return the numbers, a view of the storage's own.

        Raises:
            ValueError: the storage is too small for it, or absent.
        """
        if self.storage.load is None:
            raise ValueError("a storage is missing")
        data = self.storage.load()
        size, low = self.dtype.itemsize, min([*self.shape, *self.strides, self.offset])
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        if low < 0 or (0 not in self.shape and (last + 1) * size > len(data)):
            raise ValueError("a tensor goes beyond its storage")
        steps = [step * size for step in self.strides]
        return np.ndarray(self.shape, self.dtype, data, self.offset * size, steps)


@dataclass(eq=False)
class Sparse:
    """A sparse tensor of any of torch's layouts.

    Attributes:
        shape: of the dense array.
        values: [N,…] the numbers that are not zero.
        rows: [N] or, compressed, the first of each row; of "coo" the indices [D,N].
        columns: [N], of "csr" and "csc" alone.
        layout: "coo", "csr" or "csc".
    """

    shape: tuple[int, ...]
    values: Tensor
    rows: Tensor
    columns: Tensor | None
    layout: str

    @property
    def dtype(self) -> np.dtype:
        """Type of the numbers."""
        return self.values.dtype

    def read(self) -> np.ndarray:
        """Return the dense array."""
        dense = np.zeros(self.shape, self.dtype)
        if self.columns is None:
            index = tuple(self.rows.read())
        else:
            compressed, other = self.rows.read(), self.columns.read()
            index = (np.repeat(np.arange(len(compressed) - 1), np.diff(compressed)), other)
            index = index if self.layout == "csr" else index[::-1]
        np.add.at(dense, index, self.values.read())
        return dense


@dataclass(eq=False)
class Plain:
    """A numpy array where a tensor may stand."""

    array: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        """Type of the numbers."""
        return self.array.dtype

    def read(self) -> np.ndarray:
        """Return the array."""
        return self.array


def size_in_memory(tensors: Mapping[str, Tensor]) -> int:
    """Return the bytes that tensors take as float32 arrays; a file of a few bytes may name a huge one."""
    return sum(4 * math.prod(map(int, tensor.shape)) for tensor in tensors.values())
