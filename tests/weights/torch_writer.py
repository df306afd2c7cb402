"""PyTorch's files written without PyTorch: the same names in the pickle, the same entries in the archive."""

import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

STORAGES = {"float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "int64": "Long"}


@dataclass
class Global:
    module: str
    name: str


@dataclass
class Made:
    """The result of a function, as `__reduce__` describes it; `state` is set afterwards."""

    function: Any
    arguments: tuple = ()
    state: Any = None


@dataclass
class Storage:
    array: np.ndarray


def tensor(array, shape=None, strides=None):
    """A tensor over an array's numbers, its own or others' shape and strides."""
    flat = np.array(array, order="C")
    strides = [step // flat.itemsize for step in flat.strides] if strides is None else strides
    arguments = (Storage(flat), 0, tuple(shape or np.shape(array)), tuple(strides), False, ordered({}))
    if flat.dtype.name in STORAGES:
        return Made(Global("torch._utils", "_rebuild_tensor_v2"), arguments)
    return Made(Global("torch._utils", "_rebuild_tensor_v3"), (*arguments, Global("torch", flat.dtype.name)))


def parameter(array):
    return Made(Global("torch._utils", "_rebuild_parameter"), (tensor(array), True, ordered({})))


def expanded(shape):
    """One number that stands for a whole array."""
    return tensor(np.zeros(1, np.float32), shape, (0,) * len(shape))


def sparse(array):
    layout = Made(Global("torch.serialization", "_get_layout"), ("torch.sparse_coo",))
    index = np.stack(np.nonzero(array)).astype(np.int64)
    data = (tensor(index), tensor(array[tuple(index)]), Made(Global("torch", "Size"), (array.shape,)), True)
    return Made(Global("torch._utils", "_rebuild_sparse_tensor"), (layout, data))


def quantized(array):
    return Made(Global("torch._utils", "_rebuild_qtensor"), (Storage(array), 0, array.shape, (1,), ()))


def ordered(items):
    return Made(Global("collections", "OrderedDict"), (), items)


def ordered_by_python_2(items):
    return Made(Global("collections", "OrderedDict"), ([list(pair) for pair in items.items()],))


def save(path: Path, saved: Any, *, legacy: bool = False) -> Path:
    """Write what `torch.save` writes, now or (legacy) before PyTorch 1.6; arrays become tensors."""
    storages: list[np.ndarray] = []
    pickled = b"\x80\x02" + _emit(saved, storages, legacy) + b"."
    if legacy:
        parts = [
            b"\x80\x02" + _emit(x, [], legacy) + b"." for x in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
        ]
        keys = b"\x80\x02" + _emit([str(n) for n in range(len(storages))], [], legacy) + b"."
        numbers = b"".join(struct.pack("<q", a.size) + a.tobytes() for a in storages)
        path.write_bytes(b"".join(parts) + pickled + keys + numbers)
        return path
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", "little")
        for n, array in enumerate(storages):
            archive.writestr(f"archive/data/{n}", array.tobytes())
    return path


def _emit(x: Any, storages: list[np.ndarray], legacy: bool) -> bytes:
    def many(values):
        return b"(" + b"".join(_emit(value, storages, legacy) for value in values)

    match x:
        case None:
            return b"N"
        case bool():
            return b"\x88" if x else b"\x89"
        case int():
            return b"L%dL\n" % x
        case float():
            return b"G" + struct.pack(">d", x)
        case str():
            return b"X" + struct.pack("<I", len(x.encode())) + x.encode()
        case tuple():
            return many(x) + b"t"
        case list():
            return many(x) + b"l"
        case dict():
            return b"}" + many(value for pair in x.items() for value in pair) + b"u"
        case np.ndarray() | np.generic():
            return _emit(tensor(x), storages, legacy)
        case Global():
            return f"c{x.module}\n{x.name}\n".encode()
        case Made(state=dict()) if x.function == Global("collections", "OrderedDict"):
            items = many(value for pair in x.state.items() for value in pair)
            return _emit(Made(x.function, x.arguments), storages, legacy) + items + b"u"
        case Made():
            made = _emit(x.function, storages, legacy) + _emit(x.arguments, storages, legacy) + b"R"
            return made if x.state is None else made + _emit(x.state, storages, legacy) + b"b"
        case Storage():
            storages.append(x.array)
            name = STORAGES.get(x.array.dtype.name)
            kind = Global("torch", f"{name}Storage") if name else Global("torch.storage", "UntypedStorage")
            count = x.array.size if name else x.array.nbytes
            identity = ("storage", kind, str(len(storages) - 1), "cpu", count, *((None,) if legacy else ()))
            return _emit(identity, storages, legacy) + b"Q"
    raise TypeError(type(x))
