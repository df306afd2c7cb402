import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.data.augment import erasing
from resnet_jax.data.augment.device import CUTOUT, ERASE, example_keys, keys_for

COUNT, HEIGHT, WIDTH = 2000, 12, 20
INDEX = np.arange(COUNT, dtype=np.int32)
KEYS = example_keys(jax.random.key(0), np.zeros_like(INDEX), INDEX)
BATCH = {"image": jnp.ones((COUNT, HEIGHT, WIDTH, 2)), "label": jnp.zeros(COUNT, jnp.int32)}


def bounding_boxes(erased: np.ndarray) -> np.ndarray:
    """Of masks [B,H,W] that each hold something: top, left, bottom, right [B,4], the last two outside."""
    ends = []
    for axis, side in ((2, HEIGHT), (1, WIDTH)):
        hit = np.any(erased, axis=axis)
        ends.append((hit.argmax(axis=1), side - hit[:, ::-1].argmax(axis=1)))
    (top, bottom), (left, right) = ends
    return np.stack([top, left, bottom, right], axis=1)


@functools.cache
def erase(**options) -> np.ndarray:
    """The images of BATCH, each erased for certain."""
    return np.asarray(jax.jit(lambda keys: erasing.random_erasing(BATCH, keys, 1.0, **options)["image"])(KEYS))


class TestRandomErasing:
    def test_sets_one_rectangle_to_zero_and_leaves_the_rest(self):
        image = erase()
        gone = image == 0
        assert (image[~gone] == 1).all()
        np.testing.assert_array_equal(gone[..., 0], gone[..., 1])
        top, left, bottom, right = bounding_boxes(gone[..., 0]).T
        np.testing.assert_array_equal(gone[..., 0].sum(axis=(1, 2)), (bottom - top) * (right - left))

    def test_the_rectangle_is_the_box_that_is_drawn(self):
        def box(key):
            return erasing.erasing_box(jax.random.split(key, 3)[1], HEIGHT, WIDTH, (0.1, 0.3), (1, 2))

        top, left, height, width = np.asarray(jax.jit(jax.vmap(box))(keys_for(KEYS, ERASE))).T
        expected = np.ones((COUNT, HEIGHT, WIDTH))
        for i in range(COUNT):
            expected[i, top[i] : top[i] + height[i], left[i] : left[i] + width[i]] = 0
        np.testing.assert_array_equal(erase(scale=(0.1, 0.3), ratio=(1, 2))[..., 0], expected)
        area, ratio = height * width / (HEIGHT * WIDTH), height / width
        # Sides are rounded to whole pixels.
        assert 0.07 < area.min() < 0.12
        assert 0.28 < area.max() < 0.35
        assert abs(area.mean() - 0.2) < 0.01
        assert ratio.min() > 0.8
        assert ratio.max() < 2.4

    def test_every_place_is_as_likely(self):
        top, left, bottom, right = bounding_boxes(erase()[..., 0] == 0).T
        for start, end, side in ((top, bottom, HEIGHT), (left, right, WIDTH)):
            room = side - (end - start)
            assert abs((start / room)[room > 4].mean() - 0.5) < 0.02
            assert start.min() == 0
            assert end.max() == side

    def test_happens_as_often_as_asked(self):
        images = jax.jit(lambda probability: erasing.random_erasing(BATCH, KEYS, probability)["image"])
        for probability, allowed in ((0.0, 0), (0.25, 0.03), (1.0, 0)):
            erased = (np.asarray(images(probability)) == 0).any(axis=(1, 2, 3))
            assert abs(erased.mean() - probability) <= allowed

    def test_leaves_an_image_in_which_no_try_fits(self):
        assert (erase(scale=(0.9, 1.0), ratio=(1.0, 1.0)) == 1).all()

    def test_takes_the_first_try_that_fits(self):
        # On 12 x 20 pixels only the wider half of these fits; nearly always one of ten tries does.
        gone = erase(scale=(0.5, 0.5), ratio=(0.3, 3.3))[..., 0] == 0
        assert gone.any(axis=(1, 2)).mean() > 0.99
        top, _, bottom, _ = bounding_boxes(gone[gone.any(axis=(1, 2))]).T
        assert (bottom - top).max() == HEIGHT - 1

    def test_noise_is_standard_normal_in_every_pixel_and_channel(self):
        image, zeros = erase(fill="noise"), erase()
        np.testing.assert_array_equal(image == 1, zeros == 1)
        noise = image[zeros == 0]
        assert abs(noise.mean()) < 0.02
        assert abs(noise.std() - 1) < 0.02
        both = image[(zeros == 0).all(axis=-1)]
        assert abs(np.corrcoef(both.T)[0, 1]) < 0.02
        assert len(np.unique(noise)) > 0.9 * len(noise)


class TestCutout:
    def test_sets_a_square_inside_the_image_to_zero(self):
        image = np.asarray(erasing.cutout(BATCH, KEYS, 5)["image"])
        top, left, bottom, right = bounding_boxes(image[..., 0] == 0).T
        assert set(bottom - top) == set(right - left) == {5}
        assert set(image.sum(axis=(1, 2, 3)).tolist()) == {2 * (HEIGHT * WIDTH - 25)}
        for start, room in ((top, HEIGHT - 5), (left, WIDTH - 5)):
            counts = np.bincount(start, minlength=room + 1)
            assert len(counts) == room + 1
            assert counts.min() > 0.6 * COUNT / (room + 1)

    @pytest.mark.parametrize(("size", "left"), [(0, HEIGHT * WIDTH), (HEIGHT, HEIGHT * (WIDTH - HEIGHT))])
    def test_takes_any_size_up_to_the_image(self, size, left):
        image = np.asarray(erasing.cutout(BATCH, KEYS, size)["image"])
        assert set(image[..., 0].sum(axis=(1, 2)).tolist()) == {left}

    def test_its_place_says_nothing_of_the_other_augmentations(self):
        first, second = (np.asarray(jax.vmap(jax.random.uniform)(keys_for(KEYS, which))) for which in (ERASE, CUTOUT))
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.1
