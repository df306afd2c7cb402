"""A folder of images: ROOT/train/CLASS/*.jpg and ROOT/val/CLASS/*.jpg; or ROOT/CLASS/*.jpg, to evaluate on."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from resnet_jax.data.decode import FORMATS, UnreadableImage
from resnet_jax.data.sources.source import Example
from resnet_jax.errors import InputError


@dataclass(frozen=True)
class FolderSource:
    """Image files, by class and then by name, in sorted order.

    Attributes:
        root: the folder of the split.
        files: bytes [N], paths relative to `root`. One array, because it is sent to every worker process: ImageNet's
            1.28 million names take 0.07 s, as Python strings 0.7 s.
        labels: int32 [N].
        class_names: the names of the class folders, sorted.
    """

    root: Path
    files: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Example:
        path = self.root / os.fsdecode(self.files[index])
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UnreadableImage(f"{path}: {error.strerror}") from error
        return Example(data, int(self.labels[index]), str(path))


def folder_source(split: Literal["train", "val"], data_dir: str | None) -> FolderSource:
    """Return the images of one split; hidden files and files that are no images are passed over.

    Where `data_dir` has neither train/ nor val/, its own class folders are the set to evaluate on.

    Raises:
        InputError: a folder is missing or has no classes, a class has no images, the two splits have different
            classes, or a symbolic link leaves `data_dir`.
    """
    if data_dir is None:
        raise InputError("--dataset=folder needs --data_dir=ROOT with ROOT/train/CLASS/* and ROOT/val/CLASS/*")
    root = Path(data_dir).expanduser()
    other = "val" if split == "train" else "train"
    whole = split == "val" and not (root / split).is_dir() and not (root / other).is_dir()
    folder = "." if whole else split
    names = class_folders(root, folder)
    if (root / other).is_dir():
        check_same_classes(root, {split: names, other: class_folders(root, other)})
    extensions = image_extensions()
    files, counts = [], []
    for name in names:
        images = images_in(root, root / folder / name, extensions)
        if not images:
            raise InputError(
                f"{root / folder / name} holds no images; put some there, or remove the folder from every split"
            )
        files += [os.fsencode(f"{name}/{image}") for image in images]
        counts.append(len(images))
    labels = np.repeat(np.arange(len(names), dtype=np.int32), counts)
    return FolderSource(root=root / folder, files=np.array(files), labels=labels, class_names=names)


def class_folders(root: Path, split: str) -> tuple[str, ...]:
    """Return the sorted names of the class folders of a split.

    Raises:
        InputError: there are none, or one is a link out of `root`.
    """
    for folder, remedy in ((root, "give --data_dir=ROOT"), (root / split, f"put the images in {root}/{split}/CLASS/")):
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder; {remedy}")
        refuse_escape(root, folder)
    with os.scandir(root / split) as entries:
        folders = [entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    for entry in folders:
        if entry.is_symlink():
            refuse_escape(root, Path(entry.path))
    if not folders:
        raise InputError(f"{root / split} has no class folders; put the images in {root / split}/CLASS/")
    return tuple(sorted(entry.name for entry in folders))


def images_in(root: Path, folder: Path, extensions: frozenset[str]) -> list[str]:
    """Return the sorted names of the image files in one class folder.

    Raises:
        InputError: one is a link out of `root`.
    """
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or os.path.splitext(entry.name)[1].lower() not in extensions:
                continue
            if entry.is_symlink():
                refuse_escape(root, Path(entry.path))
            if entry.is_file():
                names.append(entry.name)
    return sorted(names)


def image_extensions() -> frozenset[str]:
    """Return the file name extensions of the formats that `decode_image` reads, in lower case, with their dot."""
    known = Image.registered_extensions().items()
    return frozenset(extension for extension, kind in known if kind in FORMATS)


def refuse_escape(root: Path, path: Path) -> None:
    """Refuse a path that, links followed, lies outside `root`: a data set must not reach other files.

    Raises:
        InputError: it does.
    """
    target = path.resolve()
    if not target.is_relative_to(root.resolve()):
        raise InputError(f"{path} is a link out of {root}, to {target}; copy the data into {root}")


def check_same_classes(root: Path, splits: dict[str, tuple[str, ...]]) -> None:
    """Refuse two splits whose classes differ: their labels would not mean the same.

    Raises:
        InputError: they differ; lists the difference.
    """
    (first, first_names), (second, second_names) = sorted(splits.items())
    lacks = [
        f"{split} lacks {', '.join(missing[:10])}{f' and {len(missing) - 10} more' if missing[10:] else ''}"
        for split, missing in (
            (first, sorted(set(second_names) - set(first_names))),
            (second, sorted(set(first_names) - set(second_names))),
        )
        if missing
    ]
    if lacks:
        raise InputError(f"{root}: train and val must have the same class folders, but {'; '.join(lacks)}")
