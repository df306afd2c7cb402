"""Pictures with masks: which layouts and kinds of masks are read, and which are refused in one line."""

import os
import re
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from resnet_jax.data.mask_checks import absent_classes, check_masks, content_digest
from resnet_jax.data.sources.mask_coding import MaskCoding, coding_of_file, usual_color
from resnet_jax.data.sources.masks import mask_source, open_masks_uncoded
from resnet_jax.data.sources.source import example_digest
from resnet_jax.errors import InputError
from resnet_jax.runtime.batch import IGNORE
from tests.masked_pictures import write_pictures


@pytest.fixture
def root(tmp_path) -> Path:
    return write_pictures(tmp_path / "set", {"train": 4, "val": 2}, sizes=((24, 32), (20, 28)))


def refused(pattern, action):
    with pytest.raises(InputError, match=pattern) as caught:
        action()
    assert "\n" not in str(caught.value)


def rewrite(path: Path, change) -> None:
    Image.fromarray(change(np.array(Image.open(path)))).save(path)


def checked(root, split: Literal["train", "val"] = "train"):
    return check_masks(mask_source(split, str(root)), 0)


def test_values_are_classes_and_255_does_not_count(root, capsys):
    source = mask_source("val", str(root))
    assert source.class_names == ("class 0", "class 1", "class 2")
    assert "3 classes, values 0 to 2, and 255 does not count" in capsys.readouterr().err
    example = source[1]
    raw = np.array(Image.open(root / "val/masks/1.png"))
    np.testing.assert_array_equal(example.label, raw)
    assert example.name == str(root / "val/images/1.png")


def test_the_counts_are_those_of_the_masks(root):
    facts = checked(root)
    masks = [np.array(Image.open(root / f"train/masks/{n}.png")) for n in range(4)]
    for k in range(3):
        assert facts.pixels[k] == sum((m == k).sum() for m in masks)
        assert facts.beside[k] == sum((m != IGNORE).sum() for m in masks if (m == k).any())
    assert facts.sizes.tolist() == [[24, 32], [20, 28]] * 2
    assert absent_classes(facts, ("a", "b", "c")) == []


def test_a_file_names_values(root, tmp_path):
    (tmp_path / "names.txt").write_text("# of the toys\n0 floor\n1 red box\n2 void\n")
    source = mask_source("train", str(root), str(tmp_path / "names.txt"))
    assert source.class_names == ("floor", "red box")
    raw = np.array(Image.open(root / "train/masks/0.png"))
    np.testing.assert_array_equal(source.mask(0), np.where(raw == 2, IGNORE, raw))


def test_a_file_names_colors(root, tmp_path):
    colors = {0: (0, 0, 0), 1: (128, 64, 128), 2: (60, 40, 222), 255: (9, 9, 9)}
    for path in root.rglob("masks/*.png"):
        raw = np.array(Image.open(path))
        painted = np.zeros((*raw.shape, 3), np.uint8)
        for value, color in colors.items():
            painted[raw == value] = color
        Image.fromarray(painted).save(path)
    refused("are in colors; name the classes, --colors=FILE", lambda: mask_source("train", str(root)))
    (tmp_path / "colors.txt").write_text("\ufeff0 0 0\tfloor\n128 64 128 road\n60,40,222 car\n9 9 9 Void\n")
    source = mask_source("train", str(root), str(tmp_path / "colors.txt"))
    assert source.class_names == ("floor", "road", "car")
    assert source.coding.colors[1] == (128, 64, 128)
    plain = write_pictures(tmp_path / "plain", {"train": 4, "val": 2}, sizes=((24, 32), (20, 28)))
    np.testing.assert_array_equal(source.mask(2), np.array(Image.open(plain / "train/masks/2.png")))


def test_palettes_are_values_and_color_the_classes(root):
    palette = [c for k in range(256) for c in usual_color(k + 7)]
    for path in root.rglob("masks/*.png"):
        image = Image.fromarray(np.array(Image.open(path)), "P")
        image.putpalette(palette)
        image.save(path)
    coding = mask_source("train", str(root)).coding
    assert coding.colors == tuple(usual_color(k + 7) for k in range(3))


@pytest.mark.parametrize(("low", "high"), [(0, 255), (0, 1)])
def test_two_values_are_one_class_and_the_rest(root, low, high, capsys):
    for path in root.rglob("masks/*.png"):
        rewrite(path, lambda m: np.where(m == 1, high, low).astype(np.uint8))
    source = mask_source("val", str(root))
    assert (source.coding.binary, source.class_names) == (True, ("foreground",))
    assert source.mask(0).shape == (24, 32, 1)
    assert set(np.unique(source.mask(0))) == {0, 1}
    assert f"one class, foreground, of value {high}" in capsys.readouterr().err


def test_classes_that_overlap_have_a_folder_each(root):
    for split in ("train", "val"):
        for path in (root / split / "masks").glob("*.png"):
            raw = np.array(Image.open(path))
            path.unlink()
            for name, member in (("cell", raw == 1), ("edge", raw >= 1)):
                (path.parent / name).mkdir(exist_ok=True)
                Image.fromarray(np.where(member, 255, 0).astype(np.uint8)).save(path.parent / name / path.name)
    source = mask_source("train", str(root))
    assert source.class_names == ("cell", "edge")
    assert source.mask(0).shape == (24, 32, 2)
    assert source.mask(0)[..., 1].sum() > source.mask(0)[..., 0].sum()
    (root / "train/masks/edge/3.png").unlink()
    refused(r"images/3.png has no mask .*masks/edge/3.png; add it", lambda: mask_source("train", str(root)))


def test_a_mask_of_another_size_is_named(root):
    rewrite(root / "train/masks/2.png", lambda m: m[:, :-3])
    refused(r"train/masks/2.png is 29 x 24 pixels, its picture .*images/2.png 32 x 24", lambda: checked(root))


def test_an_unknown_value_is_named_with_its_count(root):
    rewrite(
        root / "val/masks/1.png", lambda m: np.where(np.arange(m.size).reshape(m.shape) < 5, 77, m).astype(np.uint8)
    )
    refused(r"val/masks/1.png has 5 pixels of value 77, which is not a class; known are", lambda: checked(root, "val"))


def test_a_picture_without_a_mask_is_named(root):
    (root / "train/masks/1.png").unlink()
    refused(r"train/images/1.png has no mask .*train/masks/1.png; add it", lambda: mask_source("train", str(root)))


def test_a_mask_without_a_picture_is_a_notice(root, capsys):
    (root / "train/images/1.png").unlink()
    assert len(mask_source("train", str(root))) == 3
    assert "1 masks have no picture, the first 1.png" in capsys.readouterr().err


def test_a_mask_that_is_all_void_is_named(root):
    rewrite(root / "train/masks/3.png", lambda m: np.full_like(m, 255))
    refused(r"train/masks/3.png is all void: no pixel of it counts", lambda: checked(root))


def test_a_lossy_or_damaged_mask_is_named(root):
    image = Image.open(root / "train/masks/0.png")
    image.save(root / "train/masks/0.png", "JPEG")
    refused(r"masks/0.png is a JPEG, which changes values; write masks as PNG", lambda: checked(root))
    (root / "train/masks/0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    refused(r"masks/0.png cannot be read", lambda: checked(root))
    Image.new("1", (20_000, 10_000)).save(root / "train/masks/0.png")
    refused(r"masks/0.png cannot be read \(.* exceeds limit of", lambda: checked(root))


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("", "names no class; write one a line"),
        ("0 void\n", "names no class"),
        ("0 unlabeled\n1 road\n", "names one class, road, which every pixel would have; name the background too"),
        ("0 a\n0 b\n", "has the value 0 twice"),
        ("0 a\n1 a\n", "has the name a twice"),
        ("0 a\n1 2 3 b\n", "mixes R G B NAME and VALUE NAME"),
        ("zero a\n", re.escape("line 1: 'zero a' is neither R G B NAME nor VALUE NAME")),
        ("300 a\n", "line 1"),
    ],
)
def test_a_file_of_names_that_cannot_be_used_is_refused(text, pattern, tmp_path):
    (tmp_path / "names.txt").write_text(text)
    refused(pattern, lambda: coding_of_file(tmp_path / "names.txt", 255))


def test_missing_folders_are_named(tmp_path):
    refused("--dataset=masks needs --data_dir=ROOT", lambda: mask_source("train", None))
    refused(r"train/images is not a folder; --dataset=masks needs", lambda: mask_source("train", str(tmp_path)))


def test_the_usual_colors_are_pascal_vocs():
    assert [usual_color(k) for k in (0, 1, 2, 3, 15, 20)] == [
        *[(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)],
        *[(192, 128, 128), (0, 64, 128)],
    ]


@pytest.mark.parametrize("void", [0, 1, 2])
def test_a_value_that_is_named_void_is_no_class(root, void):
    for mask in (root / "train" / "masks").iterdir():
        rewrite(mask, lambda m: np.where(m == IGNORE, 3, m).astype(np.uint8))
    source = mask_source("train", str(root), void_value=void)
    label, raw = source[0].label, np.array(Image.open(root / "train/masks/0.png"))
    kept = [k for k in range(4) if k != void]
    assert source.class_names == tuple(f"class {k}" for k in kept)
    assert (raw == void).any()
    np.testing.assert_array_equal(label == IGNORE, raw == void)
    for number, k in enumerate(kept):
        np.testing.assert_array_equal(label == number, raw == k)


def test_two_values_of_which_one_is_named_void_are_no_foreground(root):
    for mask in (root / "train" / "masks").iterdir():
        rewrite(mask, lambda m: (m == 1).astype(np.uint8))
    pattern = "every pixel of the masks that counts has the value 1; there is nothing to learn"
    refused(pattern, lambda: mask_source("train", str(root), void_value=0))


def test_more_classes_than_a_mask_can_hold_are_refused(tmp_path):
    (tmp_path / "names.txt").write_text("".join(f"{k} {k % 7} 0 name{k}\n" for k in range(256)))
    refused("names 256 classes; 255 are the most", lambda: coding_of_file(tmp_path / "names.txt", 255))


@pytest.mark.parametrize("yes", [1, 255])
def test_a_class_of_its_own_folder_is_any_of_the_usual_values(root, yes):
    for split in ("train", "val"):
        masks = root / split / "masks"
        for mask in list(masks.iterdir()):
            (masks / "cell").mkdir(exist_ok=True)
            mask.rename(masks / "cell" / mask.name)
            rewrite(masks / "cell" / mask.name, lambda m: np.where(m == 1, yes, 0).astype(np.uint8))
    label = mask_source("train", str(root))[0].label
    assert label.shape[-1] == 1
    assert set(np.unique(label)) == {0, 1}


def in_class_folder(root, change) -> None:
    """Move all masks into masks/cell."""
    for split in ("train", "val"):
        masks = root / split / "masks"
        for mask in list(masks.iterdir()):
            (masks / "cell").mkdir(exist_ok=True)
            mask.rename(masks / "cell" / mask.name)
            rewrite(masks / "cell" / mask.name, change)


def test_both_values_for_yes_in_a_mask_are_refused_and_another_may_be_void(root):
    in_class_folder(root, lambda m: np.choose(m % 3, [0, 1, 255]).astype(np.uint8))
    source = mask_source("train", str(root))
    refused("masks/cell/0.png has both value 1 and value 255, which both mean yes", lambda: source.mask(0))
    for path in root.rglob("masks/cell/*.png"):
        rewrite(path, lambda m: np.where(m == 255, 2, m).astype(np.uint8))
    refused("of value 2, which is not a class; .* write masks in gray", lambda: mask_source("train", str(root)).mask(0))
    assert set(np.unique(mask_source("train", str(root), void_value=2).mask(0))) == {0, 1, IGNORE}


def test_names_and_colors_are_refused_for_classes_in_folders(root, tmp_path):
    in_class_folder(root, lambda m: (m == 1).astype(np.uint8))
    (tmp_path / "names.txt").write_text("0 floor\n1 box\n")
    refused(
        "are in folders of classes; leave it out", lambda: mask_source("train", str(root), str(tmp_path / "names.txt"))
    )


def test_void_that_the_training_masks_do_not_have_is_void_in_others(root):
    for path in root.rglob("masks/*.png"):
        rewrite(path, lambda m: (m == 1).astype(np.uint8))
    rewrite(root / "val/masks/0.png", lambda m: np.where(np.arange(m.shape[1]) < 3, 255, m).astype(np.uint8))
    label = mask_source("val", str(root)).mask(0)
    assert (label[:, :3] == IGNORE).all()
    assert set(np.unique(label[:, 3:])) == {0, 1}


def test_a_name_that_is_no_utf_8_has_a_digest(root):
    for kind in ("images", "masks"):
        folder = os.fsencode(root / "train" / kind)
        os.rename(os.path.join(folder, b"0.png"), os.path.join(folder, b"caf\xe9.png"))
    assert example_digest(mask_source("train", str(root))).startswith("sha256:")


def test_masks_that_are_not_of_the_networks_kind_are_refused(root):
    overlapping = MaskCoding(("a", "b"), (255, 1), (), ((0, 0, 0),) * 2, binary=True)
    source = open_masks_uncoded("train", str(root), "masks")
    refused("has one mask a picture", lambda: source.with_coding(overlapping))


def test_what_is_in_the_masks_has_a_digest(root):
    before = content_digest(checked(root))
    assert content_digest(checked(root)) == before
    rewrite(root / "train/masks/0.png", lambda m: np.where(m == 1, 2, m).astype(np.uint8))
    assert content_digest(checked(root)) != before


def test_pictures_in_folders_of_their_own_are_told(root):
    inner = root / "train" / "images" / "inner"
    inner.mkdir()
    for picture in list((root / "train" / "images").glob("*.png")):
        picture.rename(inner / picture.name)
    refused("holds no images.*4 in folders of their own", lambda: mask_source("train", str(root)))
