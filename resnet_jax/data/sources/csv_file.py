"""Pictures that a CSV file lists: a row with the columns path, label and, where it has splits, split."""

import csv
import io
import os
import unicodedata
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from resnet_jax.data.notices import print_notice
from resnet_jax.data.sources.folder import OTHER_NAMES, FolderSource, check_same_classes, compared_split
from resnet_jax.errors import InputError

NEEDED, OPTIONAL = ("path", "label"), "split"
HEADER = "path,label or path,label,split"


class Row(NamedTuple):
    """A picture.

    Attributes:
        line: of the file, from 1.
        path: relative to the file's folder, or absolute.
        label: name of its class.
        split: "train", "val" or "test"; empty where the file has no such column.
    """

    line: int
    path: str
    label: str
    split: str


def csv_source(split: Literal["train", "val", "test"], data_dir: str) -> FolderSource:
    """Open one split of a CSV file; "val" of a file without splits is all of it, to evaluate on.

    Args:
        split: of the set.
        data_dir: FILE.csv.

    Raises:
        InputError: the file is missing or not as it should be, it has no such split, pictures of the split are
            missing, or the classes of two splits differ.
    """
    path = Path(data_dir).expanduser()
    rows = read_rows(path)
    by_split: dict[str, list[Row]] = {}
    for row in rows:
        by_split.setdefault(row.split, []).append(row)
    if "" in by_split and split != "val":
        remedy = ", or give --val_fraction=0.2 or --folds=5 to a training" if split == "train" else ""
        raise InputError(f"{path} has no column split; add one (train, val, test){remedy}")
    chosen = by_split.get("" if "" in by_split else split)
    if chosen is None:
        raise InputError(f"{path} has no rows of split {split}, only of {', '.join(by_split)}; add some")
    names = {name: tuple(sorted({row.label for row in part})) for name, part in by_split.items()}
    class_names = names[chosen[0].split]
    other = compared_split(split, by_split)
    if other in by_split:
        check_same_classes(path, {split: class_names, other: names[other]})
    check_there(path, chosen)
    index = {name: number for number, name in enumerate(class_names)}
    pictures = sorted((index[row.label], os.fsencode(row.path)) for row in chosen)
    return FolderSource(
        root=path.parent,
        files=np.array([file for _, file in pictures]),
        labels=np.array([label for label, _ in pictures], np.int32),
        class_names=class_names,
    )


def csv_splits(data_dir: str) -> tuple[str, ...]:
    """Return which of train and val a CSV file has; () where it has no splits."""
    found = {row.split for row in read_rows(Path(data_dir).expanduser())}
    return tuple(name for name in ("train", "val") if name in found)


def read_rows(path: Path) -> tuple[Row, ...]:
    """Return the pictures of a CSV file, each once.

    Raises:
        InputError: it cannot be read, has no rows, a column is missing, or a row is not as it should be.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; give --data_dir=FILE.csv, or a folder") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8; save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); make it readable") from error
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        lines = [(reader.line_num, [field.strip() for field in fields]) for fields in reader if any(fields)]
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}; correct it") from error
    if len(lines) < 2:
        raise InputError(f"{path} is empty; write {HEADER}, and below it a line for each picture")
    (_, header), *rest = lines
    column = columns_of(path, header)
    for line, fields in rest:
        if len(fields) != len(header):
            raise InputError(
                f"{path}, line {line} has {len(fields)} fields where the header has {len(header)}; "
                "quote what holds a comma"
            )
        if empty := [name for name in NEEDED if not fields[column[name]]]:
            raise InputError(f"{path}, line {line} has an empty {empty[0]}; fill it in, or remove the row")
    values = [fields[column[OPTIONAL]] if OPTIONAL in column else "" for _, fields in rest]
    splits = split_names(path, rest, column[OPTIONAL]) if OPTIONAL in column else {"": ""}
    folder = os.path.abspath(path.parent)
    rows = [
        Row(
            line,
            normal_path(folder, fields[column["path"]]),
            unicodedata.normalize("NFC", fields[column["label"]]),
            splits[value],
        )
        for (line, fields), value in zip(rest, values, strict=True)
    ]
    return without_repeats(path, rows)


def columns_of(path: Path, header: list[str]) -> dict[str, int]:
    """Return the columns that are read, by name; name the others on standard error.

    Raises:
        InputError: one is missing, or there twice.
    """
    if missing := [name for name in NEEDED if name not in header]:
        raise InputError(
            f"{path} has no column {' and '.join(missing)}, only {', '.join(map(repr, header))}; begin it with {HEADER}"
        )
    known = (*NEEDED, OPTIONAL)
    if twice := [name for name in known if header.count(name) > 1]:
        raise InputError(f"{path} has a column {twice[0]} {header.count(twice[0])} times; keep one")
    if others := [name for name in header if name not in known]:
        print_notice(f"{path}: ignored columns: {', '.join(others)}")
    return {name: header.index(name) for name in known if name in header}


def split_names(path: Path, rows: list[tuple[int, list[str]]], column: int) -> dict[str, str]:
    """Return the split that each value of a column names; say which ones have another name.

    Raises:
        InputError: a value is none of the known ones.
    """
    known = {name: split for split, others in OTHER_NAMES.items() for name in (split, *others)}
    meant: dict[str, str] = {}
    for line, fields in rows:
        if (name := fields[column].lower()) not in known:
            raise InputError(f"{path}, line {line}: split {fields[column]!r} is not train, val or test; correct it")
        meant[fields[column]] = known[name]
    if renamed := [f"{value} as {split}" for value, split in meant.items() if value != split]:
        print_notice(f"{path}: split {', '.join(renamed)}")
    return meant


def normal_path(folder: str, picture: str) -> str:
    """Return the path of a picture as it is stored: relative where it lies in the file's own `folder`."""
    whole = os.path.normpath(os.path.join(folder, picture))
    inside = f"{folder.rstrip(os.sep)}{os.sep}"
    return whole.removeprefix(inside) if whole.startswith(inside) else os.path.normpath(picture)


def without_repeats(path: Path, rows: list[Row]) -> tuple[Row, ...]:
    """Return the rows without those that repeat another; say how many there were.

    Raises:
        InputError: a picture has two labels, or is in two splits.
    """
    first: dict[str, Row] = {}
    for row in rows:
        known = first.setdefault(row.path, row)
        for name, a, b in (("label", known.label, row.label), ("split", known.split, row.split)):
            if a != b:
                raise InputError(
                    f"{path}: {row.path} has {name} {a!r} in line {known.line} and {b!r} in line {row.line}; keep one"
                )
    if repeated := len(rows) - len(first):
        print_notice(f"{path}: {repeated:,} rows repeat a picture and are read once")
    return tuple(first.values())


def check_there(path: Path, rows: list[Row]) -> None:
    """Refuse rows whose picture does not exist.

    Raises:
        InputError: names the first, and how many there are.
    """
    if missing := [row for row in rows if not os.path.isfile(path.parent / row.path)]:
        raise InputError(
            f"{path}, line {missing[0].line}: {missing[0].path} does not exist ({len(missing):,} of {len(rows):,} "
            f"pictures are missing); paths begin at {path.parent}, or at /"
        )
