import unicodedata
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resnet_jax.data.decode import decode_image
from resnet_jax.data.file_headers import check_file_headers
from resnet_jax.data.sources.held_out import FolderRule
from resnet_jax.data.sources.load import AS_THEY_LIE, load_source
from resnet_jax.data.sources.source import example_digest
from resnet_jax.errors import InputError

SPLIT = "path,label,split\np/0.png,ant,train\np/1.png,bee,train\np/2.png,ant,val\np/3.png,bee,val\n"


@pytest.fixture
def write_csv(write_folder):
    """Writes a CSV file beside six pictures p/0.png to p/5.png, whose pixels are their number."""

    def write(text: str, encoding: str = "utf-8") -> str:
        path = write_folder({"p": 6}) / "list.csv"
        path.write_bytes(text.encode(encoding))
        return str(path)

    return write


def opened(path, split: Any = "train", rule=AS_THEY_LIE) -> Any:
    return load_source("folder", split, path, 0, rule)


def contents(source) -> list[tuple[int, int]]:
    """(Number of the picture, label) of every example."""
    return [(int(decode_image(example.image, "")[0, 0, 0]), example.label) for example in source]


def test_reads_the_pictures_of_a_split_by_class_and_name(write_csv):
    path = write_csv(SPLIT + "p/4.png,ant,train\n")
    assert contents(opened(path)) == [(0, 0), (4, 0), (1, 1)]
    assert contents(opened(path, "val")) == [(2, 0), (3, 1)]
    source = opened(path)
    assert source.class_names == ("ant", "bee")
    assert source[1].name == str(Path(path).parent / "p/4.png")
    check_file_headers(source, 0)


def test_columns_come_in_any_order_and_others_are_named(write_csv, capsys):
    text = "\ufeffwho, split,label ,path\nme,train,bee, p/1.png\nme,val,bee,p/2.png\n\n"
    path = write_csv(text)
    assert contents(opened(path)) == [(1, 0)]
    opened(path, "val")
    assert capsys.readouterr().err == f"{path}: ignored columns: who\n"


def test_paths_may_be_absolute_and_the_order_of_rows_does_not_matter(write_csv):
    path = write_csv(SPLIT)
    digest = example_digest(opened(path))
    header, *rows = SPLIT.splitlines()
    moved = "\n".join([header, *(f"{Path(path).parent}/{row}" for row in reversed(rows))])
    assert contents(opened(write_csv(moved))) == [(0, 0), (1, 1)]
    assert example_digest(opened(path)) == digest


def test_splits_have_other_names_too(write_csv, capsys):
    text = SPLIT.replace(",train", ",Training").replace(",val", ",validation")
    path = write_csv(text + "p/4.png,ant,testing\np/5.png,bee,test\n")
    assert [len(opened(path, split)) for split in ("train", "val", "test")] == [2, 2, 2]
    assert "split Training as train, validation as val, testing as test\n" in capsys.readouterr().err


def test_labels_are_composed_and_may_be_quoted(write_csv):
    decomposed = unicodedata.normalize("NFD", "Kähler")
    path = write_csv(f'path,label\np/0.png,{decomposed}\np/1.png,Kähler\np/2.png,"a, b"\n')
    assert opened(path, "val").class_names == ("Kähler", "a, b")


def test_a_row_that_repeats_is_read_once(write_csv, capsys):
    assert len(opened(write_csv(SPLIT + "./p/0.png,ant,train\n"))) == 2
    assert "1 rows repeat a picture" in capsys.readouterr().err


def test_without_a_column_split_it_is_one_set(write_csv):
    path = write_csv("path,label\n" + "".join(f"p/{k}.png,{'ab'[k % 2]}\n" for k in range(6)))
    assert len(opened(path, "val")) == 6
    with pytest.raises(InputError, match=r"has no column split; add one .*, or give --val_fraction=0\.2"):
        opened(path)
    train, val = (opened(path, split, FolderRule(0.4)) for split in ("train", "val"))
    assert sorted(contents(train) + contents(val)) == [(k, k % 2) for k in range(6)]
    assert set(np.bincount(val.labels)) <= {1, 2}
    folds = [contents(opened(path, "val", FolderRule(folds=3, fold=fold))) for fold in range(3)]
    assert [len(part) for part in folds] == [2, 2, 2]
    assert sorted(chain(*folds)) == [(k, k % 2) for k in range(6)]


def test_folds_pool_training_and_validation_and_leave_the_test_split_out(write_csv, capsys):
    path = write_csv(SPLIT + "p/4.png,ant,test\np/5.png,bee,test\n")
    folds = [contents(opened(path, "val", FolderRule(folds=2, fold=fold))) for fold in range(2)]
    assert sorted(chain(*folds)) == [(0, 0), (1, 1), (2, 0), (3, 1)]
    assert contents(opened(path, "test", FolderRule(folds=2))) == [(4, 0), (5, 1)]
    assert f"{path}: 4 images of train and val are pooled for --folds=2\n" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"--val_fraction=0\.2 is for pictures without splits"):
        opened(path, "train", FolderRule(0.2))


def test_a_class_of_the_test_split_alone_does_not_touch_training(write_csv):
    path = write_csv(SPLIT + "p/4.png,cat,test\np/nowhere.png,ant,test\n")
    assert opened(path).class_names == ("ant", "bee")
    with pytest.raises(InputError, match=r"test lacks bee; train lacks cat"):
        opened(path, "test")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", r"list\.csv is empty; write path,label"),
        ("path,label\n", r"list\.csv is empty"),
        ("file,label\np/0.png,ant\n", r"has no column path, only 'file', 'label'"),
        ("path;label\np/0.png;ant\n", r"has no column path and label, only 'path;label'"),
        ("path,label,path\np/0.png,ant,p/0.png\n", r"has a column path 2 times; keep one"),
        ("path,label\np/0.png,a,b\n", r"line 2 has 3 fields where the header has 2; quote"),
        ("path,label\np/0.png,\n", r"line 2 has an empty label"),
        ("path,label\n,ant\n", r"line 2 has an empty path"),
        (SPLIT + "p/4.png,ant,extra\n", r"line 6: split 'extra' is not train, val or test"),
        (SPLIT + "p/4.png,ant,\n", r"line 6: split '' is not train, val or test"),
        (SPLIT + "p/0.png,bee,train\n", r"p/0\.png has label 'ant' in line 2 and 'bee' in line 6; keep one"),
        (SPLIT + "p/0.png,ant,val\n", r"p/0\.png has split 'train' in line 2 and 'val' in line 6; keep one"),
        (SPLIT + "p/../p/0.png,bee,train\n", r"p/0\.png has label 'ant' in line 2 and 'bee' in line 6; keep one"),
        (SPLIT + "p/8.png,ant,train\np/9.png,ant,train\n", r"line 6: p/8\.png does not exist \(2 of 4 pictures are"),
        (SPLIT + "p/4.png,cat,val\n", r"train and val must have the same classes, but train lacks cat"),
        (SPLIT + "p/4.png,cat,train\n", r"train and val must have the same classes, but val lacks cat"),
        ("path,label,split\np/0.png,ant,val\n", r"has no rows of split train, only of val"),
        ('path,label,split\n"p/0.png"x,ant,val\n', r"line 2: .*; correct it"),
    ],
)
def test_what_is_wrong_is_one_line(write_csv, text, why):
    with pytest.raises(InputError, match=why) as caught:
        opened(write_csv(text))
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_another_encoding_are_refused(write_csv, tmp_path):
    with pytest.raises(InputError, match=r"none\.csv does not exist"):
        opened(str(tmp_path / "none.csv"))
    with pytest.raises(InputError, match=r"is not UTF-8; save it as UTF-8"):
        opened(write_csv("path,label\np/0.png,Kähler\n", "latin-1"))


def test_a_folder_may_be_called_like_a_file(write_folder, tmp_path):
    (tmp_path / "pictures.csv").mkdir()
    write_folder({"pictures.csv/train/a": 1, "pictures.csv/val/a": 1})
    assert len(opened(str(tmp_path / "pictures.csv"))) == 1


def test_a_picture_that_is_named_through_the_folder_above_is_the_same(write_csv):
    path = Path(write_csv(""))
    path.write_text(f"{SPLIT}../{path.parent.name}/p/0.png,bee,val\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"p/0\.png has label 'ant' in line 2 and 'bee' in line 6; keep one"):
        opened(str(path))
