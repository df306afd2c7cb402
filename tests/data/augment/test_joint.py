"""A picture and its mask are changed together."""

import numpy as np
import pytest

from resnet_jax.data.augment.joint import JointTransform, random_crop, resize_mask, rotated
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
    found, labels = random_crop(image, mask, (8, 8), np.random.default_rng(0))
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
