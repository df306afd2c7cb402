"""PyTorch's files (.pth, .pt, .th, .ckpt, .bin), read without PyTorch and without running anything that they hold.

Such a file is a pickle with the numbers beside it: in a zip archive since PyTorch 1.6, one behind the other before.
Only the names in `GLOBALS` mean something here. Every other class becomes an `Opaque`, which does nothing, so that the
options and callbacks that training scripts save beside the weights do no harm.
"""

import io
import pickle
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from resnet_jax.errors import InputError
from resnet_jax.weights.torch_objects import Dict, Known, opaque, scalar, sparse, strided, typed
from resnet_jax.weights.torch_tensors import DTYPES, Storage

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

# Modules whose functions do something when they run: a file that names one was made to run code.
RUNNERS = {
    *("os", "posix", "nt", "sys", "subprocess", "builtins", "__builtin__", "importlib", "runpy", "shutil", "pty"),
    *("socket", "ctypes", "code", "pickle", "_pickle", "marshal", "types", "functools", "operator", "inspect"),
    *("webbrowser", "asyncio", "multiprocessing", "threading", "timeit", "pdb", "bdb", "pip", "urllib"),
}

STORAGES = {
    **{"Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64"},
    **{"Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool", "Untyped": "uint8"},
    **{"ComplexFloat": "complex64", "ComplexDouble": "complex128"},
}

GLOBALS: dict[tuple[str, str], Any] = {
    # Python 2 gives the items to the constructor, as [[key, value], ...]; Python 3 sets them afterwards.
    ("collections", "OrderedDict"): lambda items=(): Dict(items),
    **{("collections", name): lambda *_: Dict() for name in ("Counter", "defaultdict")},
    **{
        (module, name): opaque(name)
        for module in ("builtins", "__builtin__")
        for name in ("object", "type", "dict", "list", "tuple", "int", "float", "complex", "bool", "str", "slice")
    },
    **{(module, "set"): set for module in ("builtins", "__builtin__")},
    **{(module, "_reconstructor"): lambda cls, *rest: cls() for module in ("copyreg", "copy_reg")},
    ("builtins", "frozenset"): frozenset,
    ("_codecs", "encode"): lambda text, encoding="latin1": str(text).encode("latin1"),
    ("torch", "Size"): lambda sizes=(): tuple(sizes),
    ("torch._utils", "_rebuild_tensor"): strided,
    ("torch._utils", "_rebuild_tensor_v2"): strided,
    ("torch._utils", "_rebuild_tensor_v3"): typed,
    ("torch._utils", "_rebuild_parameter"): lambda data, *rest: data,
    ("torch._utils", "_rebuild_parameter_with_state"): lambda data, *rest: data,
    ("torch.nn.parameter", "Parameter"): lambda data, *rest: data,
    ("torch._tensor", "_rebuild_from_type_v2"): lambda rebuild, kind, arguments, state: rebuild(*arguments),
    ("torch._utils", "_rebuild_sparse_tensor"): sparse,
    ("torch._utils", "_rebuild_qtensor"): opaque("a quantized tensor", is_tensor=True),
    ("torch._utils", "_rebuild_nested_tensor"): opaque("a nested tensor", is_tensor=True),
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): opaque("a tensor without numbers", is_tensor=True),
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
    **{(f"numpy.{core}.multiarray", "scalar"): scalar for core in ("core", "_core")},
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
        return opaque(f"{module}.{name}")

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
