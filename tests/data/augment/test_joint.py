"""A picture and its mask are changed together."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from resnet_jax.data.augment.joint import JointTransform, cut, random_corner, rotated
from resnet_jax.data.augment.resize import resize, resize_mask
from resnet_jax.runtime.batch import IGNORE
from tests.masked_pictures import COLORS, picture

BUSY = JointTransform(crop=(20, 26), scale=(0.5, 2.0), rotate=20.0, flip=True, jitter=0.1)


def classes_by_color(image):
    return np.abs(image[..., None, :].astype(int) - COLORS).sum(axis=-1).argmin(axis=-1)


@pytest.mark.parametrize("seed", range(6))
def test_the_mask_follows_the_picture(seed):
    image, mask = picture(np.random.default_rng(seed), (40, 52))
    found, labels = BUSY(image, mask, np.random.default_rng(seed))
    assert found.shape == (20, 26, 3)
    assert labels.shape == (20, 26)
    counted = (labels != IGNORE) & (found.sum(axis=-1) > 0)
    agree = classes_by_color(found)[counted] == labels[counted]
    assert agree.mean() > 0.85  # but for mixed colors on edges
    assert set(np.unique(labels)) <= {0, 1, 2, IGNORE}


def test_it_is_a_function_of_its_numbers():
    image, mask = picture(np.random.default_rng(0), (40, 52))
    first, again, other = (BUSY(image, mask, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_beyond_the_picture_nothing_counts():
    image, mask = np.full((4, 5, 3), 9, np.uint8), np.ones((4, 5), np.uint8)
    corner = random_corner((4, 5), (8, 8), np.random.default_rng(0))
    found, labels = cut(image, mask, (4, 5), corner, (8, 8))
    assert corner == (-2, -1)
    np.testing.assert_array_equal(labels == IGNORE, found[..., 0] == 0)
    assert (labels != IGNORE).sum() == 20


def test_a_rotation_leaves_corners_that_do_not_count():
    image, mask = np.full((21, 21, 3), 9, np.uint8), np.ones((21, 21), np.uint8)
    turned, labels = rotated(image, mask, 45)
    assert labels[0, 0] == IGNORE
    assert labels[10, 10] == 1
    assert turned[0, 0, 0] == 0


def test_whole_pictures_are_mirrored_alone():
    image, mask = picture(np.random.default_rng(0), (12, 15))
    seen = set()
    for seed in range(8):
        found, labels = JointTransform()(image, mask, np.random.default_rng(seed))
        mirrored = np.array_equal(found, image[:, ::-1])
        assert mirrored or np.array_equal(found, image)
        np.testing.assert_array_equal(labels, mask[:, ::-1] if mirrored else mask)
        seen.add(mirrored)
    assert seen == {True, False}


def test_masks_of_overlapping_classes_are_resized_each_by_itself():
    mask = np.random.default_rng(0).integers(0, 2, (6, 8, 3)).astype(np.uint8)
    np.testing.assert_array_equal(resize_mask(mask, 12, 16), mask.repeat(2, axis=0).repeat(2, axis=1))


@pytest.mark.parametrize("layers", [(), (3,)])
@pytest.mark.parametrize("shape", [(80, 104), (33, 47), (40, 52), (9, 11)])
def test_a_window_is_that_of_the_whole_resized_picture(shape, layers):
    rng = np.random.default_rng(0)
    image, mask = picture(rng, (40, 52))
    if layers:
        mask = rng.integers(0, 2, (40, 52, *layers)).astype(np.uint8)
    whole, whole_mask = resize(image, *shape).astype(int), resize_mask(mask, *shape)
    for corner in ((0, 0), (3, 5), (-2, 1), (shape[0] - 8, shape[1] - 9), (shape[0] - 4, shape[1] - 3)):
        found, labels = cut(image, mask, shape, corner, (8, 9))
        rows, columns = (np.arange(start, start + count) for start, count in zip(corner, (8, 9), strict=True))
        inside = np.ix_((rows >= 0) & (rows < shape[0]), (columns >= 0) & (columns < shape[1]))
        places = np.ix_(*(p[(p >= 0) & (p < n)] for p, n in zip((rows, columns), shape, strict=True)))
        assert np.abs(found[inside] - whole[places]).max() <= 1
        np.testing.assert_array_equal(labels[inside], whole_mask[places])
        outside = np.ones((8, 9), bool)
        outside[inside] = False
        assert (found[outside] == 0).all()
        assert (labels[outside] == IGNORE).all()


@pytest.mark.parametrize("shape", [(80, 104), (33, 47), (7, 200), (1, 1)])
def test_masks_are_resized_as_pillow_does(shape):
    mask = np.random.default_rng(0).integers(0, 250, (41, 53)).astype(np.uint8)  # odd: no center falls on an edge
    expected = Image.fromarray(mask).resize(shape[::-1], Image.Resampling.NEAREST)
    np.testing.assert_array_equal(resize_mask(mask, *shape), expected)


def test_what_the_crop_does_not_show_is_not_computed():
    image, mask = np.zeros((500, 500, 3), np.uint8), np.zeros((500, 500), np.uint8)
    transform = JointTransform(crop=(64, 64), scale=(4.0, 4.0), flip=False)
    tracemalloc.start()  # counts numpy's memory and Pillow's copies to numpy
    transform(image, mask, np.random.default_rng(0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20  # the whole has 12 MB
