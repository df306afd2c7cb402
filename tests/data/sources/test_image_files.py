"""Folders as torchvision reads them, and everything that is not read in one line."""

import os
import unicodedata
from pathlib import Path

import pytest

from resnet_jax.data.notices import print_notice
from resnet_jax.data.sources.folder import folder_source
from resnet_jax.data.sources.image_files import image_extensions
from resnet_jax.errors import InputError
from tests.data.images import encoded, smooth

PNG = encoded(smooth(4, 4))


def write(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(PNG)
    return root


def torchvision_order(folder: Path) -> list[tuple[str, int]]:
    """Return what torchvision's make_dataset does for a folder."""
    found = []
    for label, name in enumerate(sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())):
        for root, _, files in sorted(os.walk(folder / name, followlinks=True)):
            found += [(os.path.join(root, file), label) for file in sorted(files) if file.lower().endswith(".png")]
    return found


def test_sub_folders_are_read_in_torchvisions_order(tmp_path):
    inside = ("z.png", "b/1.png", "b/a/0.png", "b-c/2.png", "B/3.png", "b/10.png", "a.png", "b/9.PNG", "é/x.png")
    root = write(tmp_path, *(f"train/{name}/{file}" for name in ("two", "One") for file in inside), "val/two/1.png")
    write(root, "val/One/2.png")
    (root / "train" / "two" / "linked").symlink_to(root / "val" / "two")
    source = folder_source("train", str(root))
    assert [(example.name, example.label) for example in source] == torchvision_order(root / "train")


def test_tiny_imagenets_layout_works(tmp_path):
    root = write(tmp_path, "train/n01/images/n01_0.png", "train/n02/images/n02_0.png", "train/n02/images/n02_1.png")
    source = folder_source("train", str(root))
    assert [source[i].label for i in range(3)] == [0, 1, 1]


def test_files_without_sub_folders_keep_their_order(tmp_path):
    names = ["b.png", "a.PNG", "Z.png", "10.png", "9.png"]
    root = write(tmp_path, *(f"train/a/{name}" for name in names))
    assert [Path(example.name).name for example in folder_source("train", str(root))] == sorted(names)


def test_everything_that_is_not_read_is_counted_in_one_line(tmp_path, capsys):
    root = write(tmp_path, "train/a/0.png", "train/b/0.mpo", "train/stray.jpg")
    write(root, *(f"train/a/{i}.heic" for i in range(3)), "train/b/sub/4.HEIC", "train/b/IMG_1", "train/a/readme.txt")
    write(root, "train/a/.hidden", "train/.DS_Store")
    (root / "train" / "a" / "gone.png").symlink_to(root / "nothing.png")
    source = folder_source("train", str(root))
    folder_source("train", str(root))
    assert len(source) == 2  # MPO is JPEG, and read
    (line,) = capsys.readouterr().err.splitlines()  # once, however often it is opened
    assert line.startswith(f"{root / 'train'}: 8 files are not read: 4 .heic, ")
    for part in ("1 .txt", "1 broken links", "1 without an ending", "1 outside the class folders"):
        assert part in line


def test_the_line_names_counts_and_remedy(tmp_path, capsys):
    root = write(tmp_path, "train/a/0.png", "train/a/1.heic", "train/a/2.heic", "train/a/IMG_1")
    folder_source("train", str(root))
    line = f"{root / 'train'}: 3 files are not read: 2 .heic, 1 without an ending; convert .heic to JPEG\n"
    assert capsys.readouterr().err == line


def test_a_set_that_is_read_whole_prints_nothing(tmp_path, capsys):
    folder_source("train", str(write(tmp_path, "train/a/0.png")))
    assert capsys.readouterr().err == ""


def test_a_class_whose_files_are_not_read_says_so(tmp_path):
    root = write(tmp_path, "train/a/0.heic", "train/b/0.png")
    with pytest.raises(InputError, match=r"train/a holds no images \(1 files are not read: 1 \.heic; convert"):
        folder_source("train", str(root))


def test_a_closed_standard_error_is_no_error(monkeypatch):
    class Closed:
        def write(self, text):
            raise BrokenPipeError

        flush = write

    monkeypatch.setattr("sys.stderr", Closed())
    print_notice("a line that nobody reads")


def test_mpo_is_read():
    assert {".mpo", ".jpg", ".jpeg", ".png", ".webp"} <= image_extensions()
    assert ".heic" not in image_extensions()


def test_composed_and_decomposed_names_are_one_class(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    root = write(tmp_path, f"train/{decomposed}/0.png", "train/zebra/0.png", f"val/{composed}/0.png", "val/zebra/0.png")
    train, val = (folder_source(split, str(root)) for split in ("train", "val"))
    assert train.class_names == val.class_names == (composed, "zebra")
    write(root, f"train/{composed}/1.png")
    both = folder_source("train", str(root))
    assert both.class_names == (composed, "zebra")
    assert [example.label for example in both] == [0, 0, 1]
    assert sorted(Path(example.name).name for example in both)[:2] == ["0.png", "0.png"]


@pytest.mark.parametrize("name", ["test", "valid", "validation", "Val"])
def test_a_validation_set_of_another_name_is_named(tmp_path, name):
    root = write(tmp_path, "train/a/0.png", f"{name}/a/0.png")
    with pytest.raises(InputError, match=rf"val is not a folder, but {root}/{name} is there; .*ln -s {name} "):
        folder_source("val", str(root))
    (root / "val").symlink_to(name)
    assert len(folder_source("val", str(root))) == 1


def test_splits_of_other_names_are_not_taken_for_classes(tmp_path):
    root = write(tmp_path, "training/a/0.png", "validation/a/0.png")
    with pytest.raises(InputError, match="validation is there"):
        folder_source("val", str(root))


@pytest.mark.parametrize("link", ["train/a/loop.png", "train/a/loop", "train/loop"])
def test_links_to_themselves_are_refused_in_one_line(tmp_path, link):
    root = write(tmp_path, "train/a/0.png")
    (root / link).symlink_to(Path(link).name)
    with pytest.raises(InputError, match=rf"{link} is a link to itself; remove it$"):
        folder_source("train", str(root))


@pytest.mark.parametrize("target", ["..", "."])
def test_a_link_to_a_folder_around_it_is_refused(tmp_path, target):
    root = write(tmp_path, "train/a/sub/0.png")
    (root / "train" / "a" / "sub" / "up").symlink_to(target)
    with pytest.raises(InputError, match=r"sub/up is a link to .*, which contains it; remove the link$"):
        folder_source("train", str(root))


def test_links_out_of_the_root_may_be_allowed(tmp_path, tmp_path_factory):
    outside = write(tmp_path_factory.mktemp("outside"), "a/0.png")
    root = write(tmp_path, "train/b/0.png")
    (root / "train" / "a").symlink_to(outside / "a")
    with pytest.raises(InputError, match="is a link out of"):
        folder_source("train", str(root))
    assert len(folder_source("train", str(root), links_out=True)) == 2


def test_a_folder_that_cannot_be_read_is_one_line(tmp_path, monkeypatch):
    root = write(tmp_path, "train/a/0.png", "train/b/0.png")
    scandir = os.scandir

    def refused(path):
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)  # root may read anything
    with pytest.raises(InputError, match=r"train/b cannot be read \(Permission denied\); make it readable"):
        folder_source("train", str(root))
