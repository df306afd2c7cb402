"""PyTorch's files (.pth, .pt, .th, .ckpt, .bin), read without PyTorch and without running anything that they hold.

Such a file is a pickle with the numbers beside it: in a zip archive since PyTorch 1.6, one behind the other before.
Only the names in `GLOBALS` mean something here. Every other class becomes an `Opaque`, which does nothing, so that the
options and callbacks that training scripts save beside the weights do no harm.
"""

import io
import pickle
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from resnet_jax.errors import InputError
from resnet_jax.weights.torch_tensors import Sparse, Storage, Strided

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

# Modules whose functions do something when they run: a file that names one was made to run code.
RUNNERS = {
    *("os", "posix", "nt", "sys", "subprocess", "builtins", "__builtin__", "importlib", "runpy", "shutil", "pty"),
    *("socket", "ctypes", "code", "pickle", "_pickle", "marshal", "types", "functools", "operator", "inspect"),
    *("webbrowser", "asyncio", "multiprocessing", "threading", "timeit", "pdb", "bdb", "pip", "urllib"),
}

DTYPES = {
    **{name: np.dtype(name) for name in ("float64", "float32", "float16", "complex64", "complex128", "bool")},
    **{f"{sign}int{bits}": np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)},
    **{
        name: np.dtype(getattr(ml_dtypes, name))
        for name in ("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu")
    },
}
STORAGES = {
    **{"Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64"},
    **{"Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool", "Untyped": "uint8"},
    **{"ComplexFloat": "complex64", "ComplexDouble": "complex128"},
}


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


def _opaque(kind: str, *, is_tensor: bool = False) -> type[Opaque]:
    return type("Opaque", (Opaque,), {"kind": kind, "is_tensor": is_tensor})


def _strided(storage: Storage, offset: int, size: Sequence[int], stride: Sequence[int], *_: Any) -> Strided:
    return Strided(storage, offset, tuple(size), tuple(stride), storage.dtype)


def _typed(storage: Storage, offset: int, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any) -> Any:
    # Types younger than torch's typed storages: the storage is bytes, the type stands beside it.
    if not isinstance(dtype, Known):
        return _opaque(f"a tensor of {dtype.kind}", is_tensor=True)()
    return Strided(storage, offset, tuple(size), tuple(stride), dtype.value)


def _sparse(layout: str, data: Sequence[Any]) -> Any:
    name = layout.removeprefix("torch.sparse_") if isinstance(layout, str) else ""
    if name == "coo":
        indices, values, size = data[:3]
        return Sparse(tuple(size), values, indices, None, name)
    if name in ("csr", "csc"):
        rows, columns, values, size = data[:4]
        return Sparse(tuple(size), values, rows, columns, name)
    return _opaque(f"a sparse tensor of the layout {layout}", is_tensor=True)()


def _scalar(dtype: np.dtype, data: bytes = b"") -> Any:
    return np.frombuffer(data, dtype)[0] if isinstance(data, bytes) else data


GLOBALS: dict[tuple[str, str], Any] = {
    **{("collections", name): lambda *_: Dict() for name in ("OrderedDict", "Counter", "defaultdict")},
    **{
        (module, name): _opaque(name)
        for module in ("builtins", "__builtin__")
        for name in ("object", "type", "dict", "list", "tuple", "int", "float", "complex", "bool", "str", "slice")
    },
    **{(module, "set"): set for module in ("builtins", "__builtin__")},
    **{(module, "_reconstructor"): lambda cls, *rest: cls() for module in ("copyreg", "copy_reg")},
    ("builtins", "frozenset"): frozenset,
    ("_codecs", "encode"): lambda text, encoding="latin1": str(text).encode("latin1"),
    ("torch", "Size"): lambda sizes=(): tuple(sizes),
    ("torch._utils", "_rebuild_tensor"): _strided,
    ("torch._utils", "_rebuild_tensor_v2"): _strided,
    ("torch._utils", "_rebuild_tensor_v3"): _typed,
    ("torch._utils", "_rebuild_parameter"): lambda data, *rest: data,
    ("torch._utils", "_rebuild_parameter_with_state"): lambda data, *rest: data,
    ("torch.nn.parameter", "Parameter"): lambda data, *rest: data,
    ("torch._tensor", "_rebuild_from_type_v2"): lambda rebuild, kind, arguments, state: rebuild(*arguments),
    ("torch._utils", "_rebuild_sparse_tensor"): _sparse,
    ("torch._utils", "_rebuild_qtensor"): _opaque("a quantized tensor", is_tensor=True),
    ("torch._utils", "_rebuild_nested_tensor"): _opaque("a nested tensor", is_tensor=True),
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): _opaque("a tensor without numbers", is_tensor=True),
    ("torch._utils", "_rebuild_device_tensor_from_numpy"): lambda data, *rest: data,
    ("torch.serialization", "_get_layout"): str,
    ("torch.storage", "_load_from_bytes"): lambda data: _read_stream(io.BytesIO(data)),
    **{("torch", f"{name}Storage"): DTYPES[dtype] for name, dtype in STORAGES.items()},
    **{("torch.cuda", f"{name}Storage"): DTYPES[dtype] for name, dtype in STORAGES.items()},
    ("torch.storage", "UntypedStorage"): DTYPES["uint8"],
    **{("torch", name): dtype for name, dtype in DTYPES.items()},
    # numpy's own are safe for numbers; a type is copied, so that the file cannot change the process's own.
    ("numpy", "dtype"): lambda name, *_: np.dtype(name, copy=True),
    **{(f"numpy.{core}.multiarray", "_reconstruct"): lambda *_: np.empty(0) for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
}


# Python's own loop and not C's: the latter reserves memory by an index that the file names.
_PythonUnpickler: Any = vars(pickle)["_Unpickler"]


class _Unpickler(_PythonUnpickler):
    """Unpickler for which only `GLOBALS` exist."""

    def __init__(self, file: Any, storage: Callable[..., Storage]) -> None:
        super().__init__(file, encoding="latin1")
        self.storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in GLOBALS:
            known = GLOBALS[module, name]
            return known if isinstance(known, type) else Known(known)
        if module.partition(".")[0] in RUNNERS:
            raise InputError(refusal(f"{module}.{name}"))
        return _opaque(f"{module}.{name}")

    def persistent_load(self, identity: Any) -> Any:
        if identity[0] == "module":
            return identity[1]
        kind, *rest = identity[1:]
        # Of a type unknown here, which the tensor's own name will tell.
        return self.storage(kind.value if isinstance(kind, Known) else DTYPES["uint8"], *rest)


def refusal(kind: str) -> str:
    """Return the error for a file with a Python object of that kind where tensors should be."""
    return (
        f"refused, because it holds Python objects, which could run code ({kind}), and not only tensors; "
        "save the network's state_dict(), or get the weights as .safetensors"
    )


def read_zip(path: Path) -> Any:
    """Read an archive of PyTorch 1.6 or later.

    Args:
        path: of the file.

    Returns:
        What was saved, with a `Tensor` for each tensor and an `Opaque` for each object of another class.

    Raises:
        InputError: it is a TorchScript program, or holds code.
        Exception: of many kinds, where the file is damaged.
    """
    archive = zipfile.ZipFile(path)  # open as long as a storage may read from it
    names = set(archive.namelist())
    root = next(name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]).partition("/")[0]
    if f"{root}/constants.pkl" in names:
        raise InputError("a TorchScript program, not a state dict; save the network's state_dict()")
    order = archive.read(f"{root}/byteorder").decode() if f"{root}/byteorder" in names else "little"

    @cache  # many small tensors may share one large storage
    def numbers(key: str) -> bytes:
        return archive.read(f"{root}/data/{key}")

    def storage(dtype: np.dtype, key: str, *_: Any) -> Storage:
        return Storage(dtype.newbyteorder(">") if order == "big" else dtype, lambda: numbers(key))

    return _Unpickler(io.BytesIO(archive.read(f"{root}/data.pkl")), storage).load()


def read_pickle(path: Path) -> Any:
    """Read a file of PyTorch before 1.6, or a plain pickle; as `read_zip`."""
    with path.open("rb") as file:
        return _read_stream(file)


def _read_stream(file: Any) -> Any:
    storages: dict[str, Storage] = {}

    def storage(dtype: np.dtype, key: str, location: Any, count: int, view: Any = None) -> Storage:
        if view is not None:
            raise ValueError("a view of a storage, as only versions before 0.4 wrote them")
        return storages.setdefault(key, Storage(dtype))

    def load() -> Any:
        return _Unpickler(file, storage).load()

    first = load()
    if first != LEGACY_MAGIC:
        return first
    load(), load()  # version, and facts about the machine
    saved = load()
    for key in load():
        numbers = storages[key]
        count = int.from_bytes(file.read(8), "little")
        data = file.read(count * numbers.dtype.itemsize)
        if len(data) != count * numbers.dtype.itemsize:
            raise ValueError("a storage is cut short")
        numbers.load = lambda data=data: data
    return saved
