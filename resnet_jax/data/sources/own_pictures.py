"""One's own pictures: a folder or a CSV file, with splits of its own, or split by the names of the pictures."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from resnet_jax.data.notices import print_notice
from resnet_jax.data.sources.csv_file import csv_source, csv_splits
from resnet_jax.data.sources.folder import FolderSource, folder_source, folder_splits, refuse_other_name
from resnet_jax.data.sources.held_out import FolderRule, fold_split, held_out_split
from resnet_jax.errors import InputError


def own_pictures(split: Literal["train", "val", "test"], data_dir: str | None, rule: FolderRule) -> FolderSource:
    """Open one split of a folder ROOT or of a CSV file.

    Args:
        split: of the set; "test" is never a part of training and validation.
        data_dir: ROOT, or FILE.csv.
        rule: how training and validation images are told from each other.

    Raises:
        InputError: the pictures cannot be used, do not go with the rule, or have a split under another name.
    """
    of_folder = partial(folder_source, links_out=rule.links_out, beside_test=bool(rule.option))
    open_split: Callable[..., FolderSource] = csv_source if is_csv(data_dir) else of_folder
    if split == "test" or not rule.option:
        return open_split(split, data_dir)
    splits = own_splits(data_dir)
    if data_dir and splits and not is_csv(data_dir):
        for missing in {"train", "val"}.difference(splits):
            refuse_other_name(Path(data_dir).expanduser(), missing, beside_test=True)
    if rule.val_fraction:
        if splits == ("train",):
            return held_out_split(open_split("train", data_dir), split, rule.val_fraction)
        if splits:
            raise InputError(
                f"{rule.option} is for pictures without splits, and {data_dir} has splits ({', '.join(splits)}); "
                "leave it out, or take --folds"
            )
        return held_out_split(open_split("val", data_dir), split, rule.val_fraction)
    whole = pooled([open_split(name, data_dir) for name in splits or ("val",)])
    if splits:
        print_notice(f"{data_dir}: {len(whole):,} images of {' and '.join(splits)} are pooled for {rule.option}")
    return fold_split(whole, split, rule.folds, rule.fold)


def own_splits(data_dir: str | None) -> tuple[str, ...]:
    """Return those of "train" and "val" that a folder or a CSV file has.

    Raises:
        InputError: it cannot be read.
    """
    of_file: Callable[..., tuple[str, ...]] = csv_splits if is_csv(data_dir) else folder_splits
    return of_file(data_dir)


def is_csv(data_dir: str | None) -> bool:
    """Return whether the pictures are listed in a file; a folder may have such a name too."""
    return data_dir is not None and data_dir.lower().endswith(".csv") and not os.path.isdir(data_dir)


def pooled(parts: Sequence[FolderSource]) -> FolderSource:
    """Return all images of splits that have the same classes as one source, by class."""
    root = Path(os.path.commonpath([part.root for part in parts]))
    files = [os.path.join(os.fsencode(part.root.relative_to(root)), file) for part in parts for file in part.files]
    labels = np.concatenate([part.labels for part in parts])
    by_class = np.argsort(labels, kind="stable")
    names = np.array([os.path.normpath(file) for file in files])
    return FolderSource(root, names[by_class], labels[by_class], parts[0].class_names)
