"""The kind of a file by its first bytes, whatever its name says."""

import zipfile
from pathlib import Path

from resnet_jax.errors import InputError

# What these files are, and the remedy.
OTHERS = {
    b"\x1f\x8b": "compressed with gzip; unpack it",
    b"BZh": "compressed with bzip2; unpack it",
    b"\xfd7zXZ": "compressed with xz; unpack it",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it",
    b"7z\xbc\xaf": "a 7-Zip archive; unpack it",
    b"Rar!": "a RAR archive; unpack it",
    b"\x89HDF": "an HDF5 file, as Keras writes it; its weights are needed as .safetensors or .npz",
    b"\x93NUMPY": "a single array (.npy); the weights of a network are a .npz file",
    b"GGUF": "a GGUF file of a language model",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"%PDF": "a PDF document",
}
LFS = b"version https://git-lfs.github.com/spec/"
HEAD = 4096


def kind_of(path: Path) -> str | None:
    """Return the kind of a file of weights.

    Args:
        path: of a file that can be read.

    Returns:
        "safetensors", "npz", "torch" (an archive) or "pickle"; None where the first bytes do not tell.

    Raises:
        InputError: it is something else: a web page, a git-lfs pointer, an archive of something else.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    if head.startswith(LFS):
        raise InputError(f"{path}: a git-lfs pointer, not the weights; run `git lfs pull`, or download the file itself")
    for magic, kind in OTHERS.items():
        if head.startswith(magic):
            raise InputError(f"{path}: {kind}")
    if head[257:262] == b"ustar":
        raise InputError(f"{path}: a tar archive; unpack it")
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**40:
        return "safetensors"
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _kind_of_zip(path)
    if head[:1] == b"\x80":
        return "pickle"
    _refuse_text(path, head)
    return None


def _kind_of_zip(path: Path) -> str | None:
    try:
        names = zipfile.ZipFile(path).namelist()
    except Exception:  # damaged: of many kinds; a reader says so
        return None
    if any(name.split("/")[1:] == ["data.pkl"] for name in names):
        return "torch"
    if all(name.endswith(".npy") for name in names):
        return "npz"
    raise InputError(f"{path}: a zip archive of {', '.join(names[:3])} …, not of tensors; unpack it")


def _refuse_text(path: Path, head: bytes) -> None:
    try:
        text = head.decode("utf-8-sig").strip().lower() if len(head) < HEAD else head[:-4].decode("utf-8-sig", "ignore")
    except UnicodeDecodeError:
        return
    text = text.strip().lower()
    if not text or not all(character.isprintable() or character.isspace() for character in text):
        return
    first = " ".join(text.split())[:60]
    if text.startswith("<"):
        kind = "an HTML page" if "<html" in text or "<!doctype html" in text else "a page of a web server"
        raise InputError(f"{path}: {kind}, not the weights: the download failed; download the file itself")
    raise InputError(f"{path}: text ('{first}'), not weights; download the file itself")
