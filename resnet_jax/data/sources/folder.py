"""A folder of images: ROOT/train/CLASS/*.jpg, ROOT/val/CLASS/*.jpg and ROOT/test/…; or ROOT/CLASS/*.jpg alone."""

import os
import unicodedata
from collections import Counter
from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from resnet_jax.data.decode import UnreadableImage
from resnet_jax.data.notices import print_notice
from resnet_jax.data.sources.image_files import image_extensions, images_in, listed, refuse_escape, unread_line
from resnet_jax.data.sources.source import Example
from resnet_jax.errors import InputError

# Names that others give a split.
OTHER_NAMES = {"train": ("training",), "val": ("valid", "validation", "dev", "eval"), "test": ("testing",)}
TEST_NAMES = ("test", *OTHER_NAMES["test"])


@dataclass(frozen=True)
class FolderSource:
    """Image files, by class and then by name, in sorted order.

    Attributes:
        root: the folder of the split, or of the file that lists it.
        files: bytes [N], paths that are absolute or relative to `root`. One array, because it is sent to every worker
            process: ImageNet's 1.28 million names take 0.07 s, as Python strings 0.7 s.
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
        path = self.path(index)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UnreadableImage(f"{path}: {error.strerror}; restore it, or make it readable") from error
        return Example(data, int(self.labels[index]), str(path))

    def path(self, index: int) -> Path:
        """Return the path of an example's file."""
        return self.root / os.fsdecode(self.files[index])

    def identity(self) -> Iterator[bytes]:
        """Yield the names of the files in `root`, and their labels, for `example_digest`."""
        # In parts, because `join` makes a Python object of each of its items first.
        yield b"\0".join(b"\0".join(self.files[i : i + 65536]) for i in range(0, len(self.files), 65536))
        yield self.labels.astype("<i4").tobytes()

    def states(self) -> np.ndarray:
        """Return bytes and time of the last change, in ns, of every file: int64 [N,2]; zeros of a missing one."""
        found = np.zeros((len(self.files), 2), np.int64)
        for number, file in enumerate(self.files):
            with suppress(OSError):
                state = os.stat(os.path.join(os.fsencode(self.root), file))
                found[number] = state.st_size, state.st_mtime_ns
        return found


def folder_source(
    split: Literal["train", "val", "test"], data_dir: str | None, links_out: bool = False, beside_test: bool = False
) -> FolderSource:
    """Open one split, in the order of torchvision's ImageFolder: sub-folders of a class belong to it.

    Hidden files are skipped; other files that are not images are counted by ending in a line on standard error. Where
    `data_dir` has no split, its own class folders are the set to evaluate on.

    Args:
        split: of the set.
        data_dir: ROOT.
        links_out: allow symbolic links that leave ROOT.
        beside_test: a folder `test` of class folders lies beside the pictures, and is neither a class nor "val".

    Raises:
        InputError: a folder is missing, cannot be read or has no classes, a class has no images, two splits have
            different classes, or a symbolic link leaves `data_dir` or leads back to itself.
    """
    if data_dir is None:
        raise InputError("--dataset=folder needs --data_dir=ROOT with ROOT/train/CLASS/* and ROOT/val/CLASS/*")
    root = Path(data_dir).expanduser()
    inside = None if links_out else root
    splits = folder_splits(data_dir)
    if not (root / split).is_dir() and root.is_dir():
        refuse_other_name(root, split, beside_test)
    whole = split == "val" and not splits
    folder = root if whole else root / split
    classes = class_folders(root, folder, inside)
    if whole and beside_test:
        classes = {name: parts for name, parts in classes.items() if not is_test_folder(folder, name)}
    other = compared_split(split, splits)
    if other in splits:
        if folder.samefile(root / other):
            raise InputError(
                f"{folder} and {root / other} are one folder: images to train on cannot validate; give the split "
                "images of its own, or take --val_fraction"
            )
        check_same_classes(root, {split: tuple(classes), other: tuple(class_folders(root, root / other, inside))})
    extensions = image_extensions()
    unread: Counter[str] = Counter()
    files, counts = [], []
    for parts in classes.values():
        before = unread.copy()
        images = []
        for part in parts:
            images += [f"{part}/{image}" for image in images_in(folder / part, extensions, unread, inside)]
        if not images:
            ignored = unread_line(unread - before)
            raise InputError(
                f"{folder / parts[0]} holds no images{f' ({ignored})' if ignored else ''}; put some there, or remove "
                "the folder from every split"
            )
        # An array a class: 14 million Python strings would be a gigabyte.
        files.append(np.array([os.fsencode(image) for image in images]))
        counts.append(len(images))
    unread["outside the class folders"] += sum(
        entry.is_file() and Path(entry.name).suffix.lower() in extensions for entry in listed(folder)
    )
    if ignored := unread_line(+unread):
        print_notice(f"{folder}: {ignored}")
    labels = np.repeat(np.arange(len(classes), dtype=np.int32), counts)
    return FolderSource(root=folder, files=np.concatenate(files), labels=labels, class_names=tuple(classes))


def folder_splits(data_dir: str | None) -> tuple[str, ...]:
    """Return which of train and val a folder has; () of a folder of classes alone."""
    root = data_dir and Path(data_dir).expanduser()
    return tuple(name for name in ("train", "val") if root and (root / name).is_dir())


def compared_split(split: str, splits: Container[str]) -> str:
    """Return the split whose classes one's own must equal; training and validation never look at test."""
    if split == "test":
        return "train" if "train" in splits else "val"
    return "val" if split == "train" else "train"


def class_folders(root: Path, folder: Path, inside: Path | None) -> dict[str, list[str]]:
    """Return the folders of each class of a split, by class name in sorted order.

    A name is in Unicode's composed form (NFC), whichever form the file system holds: archives made on a Mac decompose
    accents.

    Raises:
        InputError: there are none, one cannot be read, has a name that is not UTF-8, or is a link out of `inside`.
    """
    for path, remedy in ((root, "give --data_dir=ROOT"), (folder, f"put the images in {folder}/CLASS/")):
        if not path.is_dir():
            raise InputError(f"{path} is not a folder; {remedy}")
        refuse_escape(inside, path)
    classes: dict[str, list[str]] = {}
    for entry in listed(folder):
        if entry.is_symlink():
            refuse_escape(inside, Path(entry.path))
        if entry.is_dir():
            try:
                entry.name.encode()
            except UnicodeEncodeError:
                shown = os.fsencode(entry.path).decode(errors="replace")
                raise InputError(f"{shown}: the name of this class folder is not UTF-8; rename it") from None
            classes.setdefault(unicodedata.normalize("NFC", entry.name), []).append(entry.name)
    if not classes:
        raise InputError(f"{folder} has no class folders; put the images in {folder}/CLASS/")
    return {name: sorted(classes[name]) for name in sorted(classes)}


def is_test_folder(root: Path, name: str) -> bool:
    """Return whether a folder in `root` holds a test set's class folders, by its name and its content."""
    return name.lower() in TEST_NAMES and has_folders(root / name)


def has_folders(folder: Path) -> bool:
    """Return whether a folder is one that holds others."""
    return folder.is_dir() and any(part.is_dir() for part in listed(folder))


def refuse_other_name(root: Path, split: str, beside_test: bool) -> None:
    """Refuse a root that has the split under another name.

    Args:
        root: the folder.
        split: of the set.
        beside_test: a test set is none of the others' names.

    Raises:
        InputError: it does; names the folder.
    """
    for entry in listed(root):
        # Where there is no other, what is called test is what a training is validated on.
        is_test = split == "val" and not beside_test and is_test_folder(root, entry.name)
        if is_test or (entry.name.lower() in (split, *OTHER_NAMES[split]) and has_folders(Path(entry.path))):
            held_out = "in a training, --val_fraction=0.2; to prepare it, --splits=train; or " if is_test else ""
            raise InputError(
                f"{root / split} is not a folder, but {root / entry.name} is there; {held_out}rename it, or link it: "
                f"ln -s {entry.name} {root / split}"
            )


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
        raise InputError(f"{root}: {first} and {second} must have the same classes, but {'; '.join(lacks)}")
