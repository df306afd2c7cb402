"""Kinds of mask files, and names in folders, that would be read as something else."""

import unicodedata

import numpy as np
import pytest
from PIL import Image

from resnet_jax.data.mask_checks import check_masks
from resnet_jax.data.sources.masks import mask_source
from resnet_jax.errors import InputError
from tests.masked_pictures import write_pictures

COLORS = {"water": (0, 0, 255), "barren": (255, 255, 255), "forest": (0, 255, 0), "void": (0, 0, 0)}


@pytest.fixture
def root(tmp_path):
    return write_pictures(tmp_path / "set", {"train": 2})


@pytest.mark.parametrize("mode", ["RGB", "P", "L", "1", "RGBA"])
def test_colors_are_those_that_a_viewer_shows(root, tmp_path, mode):
    """Programs that make PNGs smaller write masks of few colors with a palette, and gray ones in gray."""
    names = ("barren", "void") if mode in ("L", "1") else tuple(COLORS)
    wanted = np.array(names)[np.arange(24 * 32).reshape(24, 32) // 7 % len(names)]
    pixels = np.array([[COLORS[name] for name in row] for row in wanted], np.uint8)
    for path in (root / "train/masks").iterdir():
        image = Image.fromarray(pixels)
        (image.quantize(8) if mode == "P" else image.convert(mode)).save(path)
    (tmp_path / "colors").write_text("\n".join(f"{r} {g} {b} {name}" for name, (r, g, b) in COLORS.items()))
    facts = check_masks(mask_source("train", str(root), str(tmp_path / "colors")), 0)
    assert facts.pixels.tolist() == [2 * (wanted == name).sum() for name in COLORS if name != "void"]


def test_gray_with_transparency_is_a_color_alone(root):
    for path in (root / "train/masks").iterdir():
        with Image.open(path) as image:
            image.convert("LA").save(path)
    with pytest.raises(InputError, match="has pixels of type LA; write masks with values from 0 to 255"):
        mask_source("train", str(root))


def test_masks_beside_folders_of_classes_are_refused(root):
    (root / "train/masks/old").mkdir()
    for path in (root / "train/masks").glob("*.png"):
        (path.parent / "old" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(InputError, match=r"holds masks \(0\.png\) and folders \(old\), which are for classes"):
        mask_source("train", str(root))


@pytest.mark.parametrize(("picture", "mask"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_are_compared_in_one_form(root, picture, mask):
    for kind, form in (("images", picture), ("masks", mask)):
        path = root / "train" / kind / "1.png"
        path.rename(path.with_name(unicodedata.normalize(form, "é.png")))
    source = mask_source("train", str(root))
    assert unicodedata.normalize("NFC", source.mask_name(1)).endswith("masks/é.png")
    assert source[1].name == source.picture_name(1)


def test_a_picture_that_was_cut_off_is_found_before_the_training(root):
    path = root / "train/images/1.png"
    Image.open(path).save(path.with_suffix(".jpg"), quality=95)
    path.unlink()
    whole = path.with_suffix(".jpg").read_bytes()
    path.with_suffix(".jpg").write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(InputError, match=r"1\.jpg"):
        check_masks(mask_source("train", str(root)), 0)
