from typing import Any

import numpy as np
import pytest

from resnet_jax.data.sources.held_out import FolderRule
from resnet_jax.data.sources.load import load_source
from resnet_jax.errors import InputError


def names_of(source, root) -> set[str]:
    return {example.name.removeprefix(f"{root}/") for example in source}


def split_by(rule, root):
    """(Names for training, names for validation) of a folder."""
    return tuple(names_of(load_source("folder", split, str(root), 0, rule), root) for split in ("train", "val"))


def test_a_folder_without_splits_is_split_by_names_class_by_class(write_folder):
    root = write_folder({"ant": 40, "bee": 10, "cat": 2})
    train, val = (load_source("folder", split, str(root), 0, FolderRule(0.25)) for split in ("train", "val"))
    names = [names_of(source, root) for source in (train, val)]
    assert not names[0] & names[1]
    assert len(names[0] | names[1]) == 52
    assert train.class_names == val.class_names == ("ant", "bee", "cat")
    counts = [sum(example.label == label for example in val) for label in range(3)]
    assert 4 <= counts[0] <= 16
    assert 1 <= counts[1] <= 6
    assert counts[2] == 1


def test_new_images_do_not_move_old_ones(write_folder):
    _, few = split_by(FolderRule(0.3), write_folder({"ant": 20, "bee": 20}))
    _, many = split_by(FolderRule(0.3), write_folder({"ant": 40, "bee": 40}))
    assert few == many & {f"{name}/{number}.png" for name in ("ant", "bee") for number in range(20)}


def test_an_image_moves_only_where_its_class_would_have_none_otherwise(write_folder):
    before = split_by(FolderRule(0.2), write_folder({"ant": 2}))
    for count in range(3, 30):
        after = split_by(FolderRule(0.2), write_folder({"ant": count}))
        for old, new in zip(before, after, strict=True):
            assert old <= new or len(old) == 1  # which had been the only one
        before = after


def test_links_out_of_the_folder_need_the_option(write_folder, tmp_path_factory):
    root, elsewhere = write_folder({"ant": 3, "bee": 3}), tmp_path_factory.mktemp("elsewhere")
    picture = next((root / "ant").iterdir())
    picture.rename(elsewhere / picture.name)
    picture.symlink_to(elsewhere / picture.name)
    with pytest.raises(InputError, match="or allow it, --links_out"):
        load_source("folder", "val", str(root), 0, FolderRule(0.5))
    assert sum(map(len, split_by(FolderRule(0.5, links_out=True), root))) == 6


@pytest.mark.parametrize("rule", [FolderRule(0.25), FolderRule(folds=2)])
@pytest.mark.parametrize(
    ("there", "other", "split"), [("train", "valid", "val"), ("train", "Dev", "val"), ("val", "training", "train")]
)
def test_a_split_under_another_name_is_not_left_out(write_folder, rule, there, other, split):
    root = write_folder({f"{there}/ant": 4, f"{there}/bee": 4, f"{other}/ant": 2, f"{other}/bee": 2})
    for asked in ("train", "val"):
        with pytest.raises(InputError, match=rf"/{split} is not a folder, but .*/{other} is there; rename it, or link"):
            load_source("folder", asked, str(root), 0, rule)


def test_a_folder_that_is_its_own_validation_is_refused(write_folder):
    root = write_folder({"train/ant": 2, "train/bee": 2})
    (root / "val").symlink_to("train")
    with pytest.raises(InputError, match="are one folder: images to train on cannot validate"):
        load_source("folder", "train", str(root), 0)


@pytest.mark.parametrize(
    ("folders", "why"),
    [
        ({"ant": 3, "bee": 1}, "class 'bee' has one image, and training and validation need one each"),
        ({"train/ant": 2, "val/ant": 1}, r"has splits \(train, val\); leave it out, or take --folds"),
    ],
)
def test_a_folder_that_cannot_be_split_is_refused(folders, why, write_folder):
    with pytest.raises(InputError, match=why):
        load_source("folder", "val", str(write_folder(folders)), 0, FolderRule(0.2))


@pytest.mark.parametrize(
    "folders",
    [
        {"ant": 13, "bee": 7, "cat": 3},
        {"train/ant": 9, "val/ant": 4, "train/bee": 5, "val/bee": 2, "train/cat": 2, "val/cat": 1, "test/dog": 1},
    ],
)
def test_every_image_is_held_out_in_exactly_one_fold(folders, write_folder, capsys):
    root = write_folder(folders)
    parts = [split_by(FolderRule(folds=3, fold=fold), root) for fold in range(3)]
    everything = set.union(*(val for _, val in parts))
    assert len(everything) == sum(len(val) for _, val in parts) == 23
    assert all(train == everything - val for train, val in parts)
    assert sorted(len(val) for _, val in parts) == [7, 8, 8]
    for name, count in (("ant", 13), ("bee", 7), ("cat", 3)):
        held = [sum(f"{name}/" in file for file in val) for _, val in parts]
        assert sum(held) == count
        assert max(held) - min(held) <= 1
    said = capsys.readouterr().err
    assert ("23 images of train and val are pooled for --folds=3" in said) == ("train/ant" in folders)


def test_the_pooled_images_are_of_their_classes(write_folder):
    root = write_folder({"train/ant": 3, "val/ant": 1, "train/bee": 2, "val/bee": 4})
    source: Any = load_source("folder", "train", str(root), 0, FolderRule(folds=2))
    assert (np.diff(source.labels) >= 0).all()
    assert all(f"/{('ant', 'bee')[example.label]}/" in example.name for example in source)


def test_a_class_with_fewer_images_than_folds_is_named(write_folder):
    root = str(write_folder({"ant": 5, "bee": 3, "cat": 2}))
    with pytest.raises(InputError, match=r"--folds=4: class 'bee' has 3 images.*\(and 1 more classes have too few\)"):
        load_source("folder", "train", root, 0, FolderRule(folds=4))


@pytest.mark.parametrize("rule", [FolderRule(0.2), FolderRule(folds=5)])
def test_a_set_with_its_own_splits_is_not_split(rule):
    with pytest.raises(InputError, match=f"{rule.option}: --dataset=digits has its own splits"):
        load_source("digits", "train", None, 0, rule)


def test_other_sets_have_no_test_split():
    with pytest.raises(InputError, match="--split=test: --dataset=digits has the splits train and val"):
        load_source("digits", "test", None, 0)


@pytest.mark.parametrize("rule", [FolderRule(0.3), FolderRule(folds=2)])
def test_a_test_folder_beside_the_classes_is_left_alone(rule, write_folder):
    root = write_folder({"ant": 6, "bee": 6, "test/ant": 2, "test/bee": 3})
    train, val = split_by(rule, root)
    assert not {name for name in train | val if name.startswith("test")}
    assert len(train | val) == 12
    assert len(load_source("folder", "test", str(root), 0, rule)) == 5


def test_training_images_alone_are_split_too(write_folder):
    root = write_folder({"train/ant": 6, "train/bee": 6, "test/ant": 2, "test/bee": 3})
    train, val = split_by(FolderRule(0.3), root)
    assert len(train | val) == 12
    assert not train & val
    with pytest.raises(InputError, match=r"in a training, --val_fraction=0.2; .*--splits=train; or rename it"):
        load_source("folder", "val", str(root), 0)
