import colorsys
import pickle
from functools import partial

import numpy as np
import pytest

from resnet_jax.data.augment import color
from resnet_jax.errors import InputError

IMAGE = np.random.default_rng(0).integers(0, 256, (30, 41, 3), np.uint8)


class TestColorJitter:
    @pytest.mark.parametrize(
        "strengths",
        [(0, 0, 0, 0), (0.4, 0, 0, 0), (0, 0.4, 0, 0), (0, 0, 0.4, 0), (0, 0, 0, 0.2), (0.4, 0.4, 0.4, 0.1)],
    )
    def test_changes_what_it_is_asked_to(self, strengths):
        results = [color.color_jitter(IMAGE, np.random.default_rng(s), *strengths) for s in (1, 1, 2)]
        np.testing.assert_array_equal(results[0], results[1])
        assert (results[0] != results[2]).any() == (sum(strengths) > 0)
        assert {(r.shape, r.dtype) for r in results} == {(IMAGE.shape, np.dtype(np.uint8))}
        steps = color.jitter_steps(np.random.default_rng(0), *strengths)
        asked = {name for name, s in zip(("Brightness", "Contrast", "Color", "Hue"), strengths, strict=True) if s}
        assert {step.name for step in steps} == asked

    def test_brightness_is_a_factor(self):
        factor = color.jitter_steps(np.random.default_rng(5), 0.4, 0, 0, 0)[0].magnitude
        ours = color.color_jitter(IMAGE, np.random.default_rng(5), brightness=0.4)
        np.testing.assert_allclose(ours, np.clip(factor * IMAGE.astype(float), 0, 255), atol=1.001, rtol=0)

    def test_hue_leaves_value_and_saturation(self):
        ours = color.color_jitter(IMAGE, np.random.default_rng(3), hue=0.5)
        before, after = (
            [colorsys.rgb_to_hsv(*pixel) for pixel in image.reshape(-1, 3) / 255] for image in (IMAGE, ours)
        )
        difference = abs(np.array(before) - np.array(after))
        assert difference[:, 2].max() < 2 / 255
        assert np.median(difference[:, 1]) < 2 / 255
        assert np.median(difference[:, 0]) > 0.05

    def test_factors_and_order_are_uniform(self):
        drawn = [color.jitter_steps(np.random.default_rng(s), 0.3, 1.5, 0.2, 0.1) for s in range(2400)]
        limits = {"Brightness": (0.7, 1.3), "Contrast": (0.0, 2.5), "Color": (0.8, 1.2), "Hue": (-0.1, 0.1)}
        for name, (low, high) in limits.items():
            values = (np.array([step.magnitude for steps in drawn for step in steps if step.name == name]) - low) / (
                high - low
            )
            counts = np.histogram(values, 4, (0, 1))[0]
            assert counts.sum() == 2400
            assert abs(counts - 600).max() < 4 * np.sqrt(2400 * 3 / 16)
        orders = {tuple(step.name for step in steps) for steps in drawn}
        assert len(orders) == 24
        first = [sum(steps[0].name == name for steps in drawn) for name in limits]
        assert abs(np.array(first) - 600).max() < 4 * np.sqrt(2400 * 3 / 16)

    @pytest.mark.parametrize("strengths", [(-0.1, 0, 0, 0), (0, 0, 0, 0.6), (0, 0, 0, -0.1)])
    def test_refuses_what_it_cannot_draw(self, strengths):
        with pytest.raises(InputError, match="--color_jitter"):
            color.color_jitter(IMAGE, np.random.default_rng(0), *strengths)


class TestPcaLighting:
    def test_adds_one_color_along_the_components(self):
        # Far from 0 and 255, so that nothing is cut.
        middle = 100 + IMAGE // 5
        added = 255 * color.PCA_VECTORS @ np.diag(color.PCA_VALUES) @ np.random.default_rng(4).normal(0, 0.1, 3)
        expected = middle + np.rint(added).astype(int)
        np.testing.assert_array_equal(color.color_jitter(middle, np.random.default_rng(4), lighting=0.1), expected)
        assert abs(added).max() > 1

    def test_has_the_published_spread(self):
        gray = np.full((1, 1, 3), 128, np.uint8)
        rng = np.random.default_rng(0)
        added = np.array([color.color_jitter(gray, rng, lighting=0.1)[0, 0] for _ in range(4000)], float) - 128
        # Sum over components of (vector * value * std)^2, and the variance of rounding.
        expected = np.sqrt(((25.5 * color.PCA_VECTORS * color.PCA_VALUES) ** 2).sum(1) + 1 / 12)
        np.testing.assert_allclose(added.std(0), expected, rtol=4 / np.sqrt(2 * 4000))
        assert abs(added.mean(0)).max() < 4 * expected.max() / np.sqrt(4000)

    def test_components_are_orthonormal(self):
        np.testing.assert_allclose(color.PCA_VECTORS.T @ color.PCA_VECTORS, np.eye(3), atol=2e-4)

    def test_no_deviation_changes_nothing_and_a_large_one_stays_within_bounds(self):
        np.testing.assert_array_equal(color.color_jitter(IMAGE, np.random.default_rng(0), lighting=0), IMAGE)
        extremes = {
            int(v) for s in range(9) for v in color.color_jitter(IMAGE, np.random.default_rng(s), lighting=50).ravel()
        }
        assert {0, 255} <= extremes


class TestThreeAugment:
    def test_draws_each_of_the_three_as_often(self):
        steps = [color.three_augment_step(np.random.default_rng(s)) for s in range(1800)]
        counts = [sum(step.name == name for step in steps) for name in ("Gray", "Solarize", "GaussianBlur")]
        assert sum(counts) == 1800
        assert abs(np.array(counts) - 600).max() < 4 * np.sqrt(1800 * 2 / 9)
        radii = [step.magnitude for step in steps if step.name == "GaussianBlur"]
        assert 0.1 <= min(radii) < 0.12
        assert 1.98 < max(radii) <= 2.0

    @pytest.mark.parametrize("shape", [(1, 9), (9, 1), (20, 31)])
    def test_any_shape(self, shape):
        image = np.resize(IMAGE, (*shape, 3))
        for seed in range(9):
            result = color.three_augment(image, np.random.default_rng(seed))
            assert (result.shape, result.dtype) == (image.shape, np.uint8)


@pytest.mark.parametrize(
    "change",
    [
        partial(color.color_jitter, brightness=0.4, hue=0.1),
        partial(color.color_jitter, lighting=0.1),
        color.three_augment,
    ],
)
def test_pickles_and_depends_on_the_generator_alone(change):
    copy = pickle.loads(pickle.dumps(change))
    mirrored = IMAGE[:, ::-1]
    for seed in range(5):
        ours = change(mirrored, np.random.default_rng(seed))
        np.testing.assert_array_equal(ours, copy(np.ascontiguousarray(mirrored), np.random.default_rng(seed)))
