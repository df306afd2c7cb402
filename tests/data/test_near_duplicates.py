"""Near-duplicates: copies are found, other pictures are not."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from resnet_jax.data.near_duplicates import SIDE, THRESHOLD, near_duplicates
from resnet_jax.data.sources.digits import digits_source
from resnet_jax.data.sources.source import ArraySource, Example

from ..real_data import real_folder


class Listed:
    """Images in a list, as a source."""

    class_names = ("x",)

    def __init__(self, images):
        self.images = list(images)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return Example(self.images[index], 0, f"{index}")


def encoded(image, kind="JPEG", **options):
    written = io.BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


def photographs(count, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        shades = rng.integers(0, 256, (6, 7, 3), dtype=np.uint8)
        yield Image.fromarray(shades).resize((140, 120), Image.Resampling.BICUBIC)


def copies(image):
    """Copies of an image that look like it."""
    yield encoded(image, quality=30)
    yield encoded(image.resize((63, 54)), "PNG")
    yield encoded(ImageOps.mirror(image), "WEBP", quality=60)
    yield np.asarray(image.resize((300, 200)))
    yield encoded(ImageOps.mirror(image).convert("L"), quality=80)


def test_every_copy_is_found_and_nothing_else():
    originals = list(photographs(20))
    second = [copy for number in (3, 11) for copy in copies(originals[number])]
    second[2:2] = [np.asarray(image) for image in photographs(20, seed=1)]
    expected = {(3, 0), (3, 1), *((3, k) for k in (22, 23, 24)), *((11, k) for k in range(25, 30))}
    found = near_duplicates(Listed(map(np.asarray, originals)), Listed(second)).pairs
    assert {(pair.first, pair.second) for pair in found} == expected
    assert [pair.similarity for pair in found] == sorted((pair.similarity for pair in found), reverse=True)
    assert all(THRESHOLD <= pair.similarity <= 1 for pair in found)


def test_parts_agree_with_the_whole(monkeypatch):
    images = [np.asarray(image) for image in photographs(7)]
    whole = near_duplicates(Listed(images), Listed(images[::-1])).pairs
    monkeypatch.setattr("resnet_jax.data.near_duplicates._ROWS", 3)
    for found in (whole, near_duplicates(Listed(images), Listed(images[::-1])).pairs):
        assert {(pair.first, pair.second) for pair in found} == {(k, 6 - k) for k in range(7)}


def test_of_pictures_that_are_all_alike_the_most_alike_are_kept_and_all_are_counted(monkeypatch):
    monkeypatch.setattr("resnet_jax.data.near_duplicates._ROWS", 3)
    one = np.asarray(next(photographs(1)))
    found = near_duplicates(Listed([one] * 7), Listed([one] * 5), most=4)
    assert (found.num_pairs, found.num_second) == (35, 5)
    assert [(pair.first, pair.second) for pair in found.pairs] == [(0, 0), (0, 1), (0, 2), (0, 3)]


def test_a_single_shade_is_like_nothing():
    plain = ArraySource(np.full((2, 9, 9, 3), 7, np.uint8), np.zeros(2, np.int32), ("x",), 2)
    assert near_duplicates(plain, plain).pairs == ()


def test_photographs_of_ants_and_bees_are_told_from_each_other_and_their_copies_found():
    folder = real_folder("photographs of ants and bees", "hymenoptera", "val", "ants")
    images = [Image.open(path).convert("RGB") for path in sorted(folder.glob("*.jpg"))[:12]]
    sources = Listed(map(np.asarray, images)), Listed(copy for image in images for copy in copies(image))
    found = {(pair.first, pair.second) for pair in near_duplicates(*sources).pairs}
    assert found == {(k, 5 * k + j) for k in range(12) for j in range(5)}


def test_the_similarity_is_that_of_roots_of_differences():
    (image,) = photographs(1)
    first, second = (np.asarray(image), np.asarray(Image.open(io.BytesIO(encoded(image, quality=5))).convert("RGB")))
    (pair,) = near_duplicates(Listed([first]), Listed([np.ascontiguousarray(second[:, ::-1])])).pairs

    def outline(pixels):
        gray = np.asarray(Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), float)
        steps = [gray[i + 1, j] - gray[i, j] for i in range(SIDE - 1) for j in range(SIDE)]
        steps += [gray[i, j + 1] - gray[i, j] for i in range(SIDE) for j in range(SIDE - 1)]
        return np.array([abs(step) ** 0.5 * (1 if step > 0 else -1) for step in steps])

    a, b = outline(first), outline(second)
    expected = a @ b / np.sqrt((a @ a) * (b @ b))
    assert pair.similarity == pytest.approx(expected, abs=5e-3)  # mirrored and then made small, or the reverse
    assert pair.similarity < 0.9999


def test_digits_are_too_small_to_tell():
    assert near_duplicates(digits_source("train"), digits_source("train")).pairs == ()
