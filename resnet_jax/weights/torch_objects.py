"""Stand-ins for the objects in PyTorch's files: what a pickle may build in place of tensors, types and classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from resnet_jax.weights.torch_tensors import Sparse, Storage, Strided


class Opaque:
    """An object of a class that is not loaded: it accepts whatever a pickle does to it, and keeps nothing.

    Attributes:
        kind: what it is, for errors.
        is_tensor: whether it stands for a tensor that cannot be loaded.
    """

    kind = ""
    is_tensor = False

    def __new__(cls, *args: Any, **kwargs: Any) -> "Opaque":
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def _ignore(self, *args: Any) -> None:
        pass

    __setstate__ = __setitem__ = append = extend = add = _ignore


class Dict(dict):
    """Any of Python's dictionaries."""

    def __setstate__(self, state: Any) -> None:
        pass  # torch keeps the versions of modules here


@dataclass(frozen=True, eq=False)
class Known:
    """A function or a type by its name in a file; sealed, because a pickle may try to change what it names."""

    value: Any

    def __call__(self, *args: Any) -> Any:
        return self.value(*args)

    def __setstate__(self, state: Any) -> None:
        pass


def opaque(kind: str, *, is_tensor: bool = False) -> type[Opaque]:
    """Return a class whose objects are not loaded."""
    return type("Opaque", (Opaque,), {"kind": kind, "is_tensor": is_tensor})


def strided(storage: Storage, offset: int, size: Sequence[int], stride: Sequence[int], *_: Any) -> Strided:
    """Return a dense tensor of its storage's type."""
    return Strided(storage, offset, tuple(size), tuple(stride), storage.dtype)


def typed(storage: Storage, offset: int, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any) -> Any:
    """Return a dense tensor of a type younger than torch's typed storages: the storage is bytes."""
    if not isinstance(dtype, Known):
        return opaque(f"a tensor of {dtype.kind}", is_tensor=True)()
    return Strided(storage, offset, tuple(size), tuple(stride), dtype.value)


def sparse(layout: str, data: Sequence[Any]) -> Any:
    """Return a sparse tensor, or an `Opaque` where its layout is not known."""
    name = layout.removeprefix("torch.sparse_") if isinstance(layout, str) else ""
    if name == "coo":
        indices, values, size = data[:3]
        return Sparse(tuple(size), values, indices, None, name)
    if name in ("csr", "csc"):
        rows, columns, values, size = data[:4]
        return Sparse(tuple(size), values, rows, columns, name)
    return opaque(f"a sparse tensor of the layout {layout}", is_tensor=True)()


def scalar(dtype: np.dtype, data: bytes = b"") -> Any:
    """Return a number of numpy's."""
    return np.frombuffer(data, dtype)[0] if isinstance(data, bytes) else data
