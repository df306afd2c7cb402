"""Files of CIFAR-10 and CIFAR-100: the binary version, and the python version, whose pickles may run no code."""

import hashlib
import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resnet_jax.data.notices import print_notice
from resnet_jax.errors import InputError

PIXELS = 3 * 32 * 32

# Everything that the pickles need of any module: arrays, and bytes as Python 3 writes them for Python 2.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
    ("numpy._core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): str.encode,
}

# Of the published files, as unpacked; those of CIFAR-100's binary version are not known.
MD5 = {
    "cifar-10-batches-bin/data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "cifar-10-batches-bin/data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "cifar-10-batches-bin/data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "cifar-10-batches-bin/data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "cifar-10-batches-bin/data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "cifar-10-batches-bin/test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
    "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
    "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
    "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
    "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
    "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
}


@dataclass(frozen=True)
class Version:
    """One version of a set, as its archive unpacks.

    Attributes:
        folder: of the archive.
        archive: its name.
        files: of each split.
        label_bytes: of a binary record, the last of them the class (CIFAR-100 has the superclass before it), then 3,072
            bytes of pixels: three planes of 32 rows of 32. None of pickles.
        label_key: of a pickle's labels.
    """

    folder: str
    archive: str
    files: dict[str, tuple[str, ...]]
    label_bytes: int | None = None
    label_key: bytes = b""


def read_files(folder: Path, version: Version, split: str, records: int) -> tuple[np.ndarray, np.ndarray]:
    """Read the files of a split; warn in one line of each that is not as published.

    Args:
        folder: of the files.
        version: theirs.
        split: "train" or "val".
        records: of each file.

    Returns:
        images uint8 [N,32,32,3] and labels int32 [N].

    Raises:
        InputError: a file is missing, is damaged, has another size, or is a pickle of anything but arrays.
    """
    planes, labels = [], []
    for name in version.files[split]:
        path = folder / name
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise InputError(f"{path} is missing beside the other files; unpack {version.archive} again") from None
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); unpack {version.archive} again") from error
        read = _pickled if version.label_bytes is None else _binary
        pixels, classes = read(path, data, version, records)
        planes.append(pixels)
        labels.append(classes)
        _compare(path, data, MD5.get(f"{version.folder}/{name}"), version)
    images = np.concatenate(planes).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), np.concatenate(labels).astype(np.int32)


def _compare(path: Path, data: bytes, expected: str | None, version: Version) -> None:
    if expected and (found := hashlib.md5(data, usedforsecurity=False).hexdigest()) != expected:
        print_notice(
            f"warning: {path} is not the published file (MD5 {found}, not {expected}): its images or labels were "
            f"changed; unpack {version.archive} again for the published set"
        )


def _binary(path: Path, data: bytes, version: Version, records: int) -> tuple[np.ndarray, np.ndarray]:
    assert version.label_bytes is not None
    width = version.label_bytes + PIXELS
    if len(data) != records * width:
        raise InputError(f"{path} has {len(data)} bytes instead of {records * width}; unpack {version.archive} again")
    rows = np.frombuffer(data, np.uint8).reshape(records, width)
    return rows[:, version.label_bytes :], rows[:, version.label_bytes - 1]


def _pickled(path: Path, data: bytes, version: Version, records: int) -> tuple[np.ndarray, np.ndarray]:
    again = f"unpack {version.archive} again, or the binary version"
    try:
        content = _Arrays.load_from(data)
        pixels = np.asarray(content[b"data"])
        labels = np.asarray(content[version.label_key])
    except pickle.UnpicklingError as error:
        raise InputError(f"{path} is refused ({error}); {again}") from error
    except Exception as error:  # a damaged pickle raises nearly anything
        raise InputError(f"{path} is damaged ({type(error).__name__}); {again}") from error
    if pixels.shape != (records, PIXELS) or pixels.dtype != np.uint8 or labels.shape != (records,):
        raise InputError(f"{path} holds pixels {pixels.shape} and labels {labels.shape} of another set; {again}")
    return pixels, labels


class _Arrays(pickle.Unpickler):
    """An unpickler of dicts, lists, bytes and arrays: nothing in the file can name any other function."""

    @classmethod
    def load_from(cls, data: bytes) -> Any:
        """Return the content of a pickle of Python 2 or 3, its strings as bytes."""
        return cls(io.BytesIO(data), encoding="bytes").load()

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the functions that arrays need."""
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it wants to run {module}.{name}, where a set has arrays alone") from None
