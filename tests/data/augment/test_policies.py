import math
import pickle
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from resnet_jax.data.augment import timm_randaugment, torchvision_policies
from resnet_jax.data.augment.image_ops import BICUBIC, BILINEAR, GEOMETRY, NEAREST, Step, apply_steps
from resnet_jax.data.augment.policies import SYNTAX, policy
from resnet_jax.data.augment.timm_randaugment import RandAugment
from resnet_jax.data.augment.torchvision_policies import AugMix, BinnedRandAugment, TrivialAugment
from resnet_jax.errors import InputError

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 37, 3), np.uint8)
NAMES = [*SYNTAX, "rand-m6-mstd0.5-inc1", "rand-m9-n3-mstd0.5", "ta_wide-nearest", "augmix-d2-w2"]


def assert_as_often(counts: Counter, names, total: int):
    """Each name's share is the same, within four standard deviations of its binomial count."""
    assert set(counts) == set(names)
    share = 1 / len(names)
    worst = max(abs(count - total * share) for count in counts.values())
    assert worst < 4 * math.sqrt(total * share * (1 - share)), counts


@pytest.mark.parametrize("name", NAMES)
class TestEveryPolicy:
    @pytest.mark.parametrize("shape", [(1, 1), (1, 15), (15, 1), (24, 37)])
    def test_keeps_shape_and_type(self, name, shape):
        image = np.resize(IMAGE, (*shape, 3))
        before = image.copy()
        for seed in range(25):
            result = policy(name)(image, np.random.default_rng(seed))
            assert (result.shape, result.dtype) == (image.shape, np.uint8)
        np.testing.assert_array_equal(image, before)

    def test_depends_on_the_generator_alone_and_pickles(self, name):
        first, second = policy(name), pickle.loads(pickle.dumps(policy(name)))
        mirrored = IMAGE[:, ::-1]
        results = [first(mirrored, np.random.default_rng(seed)) for seed in range(12)]
        np.random.seed(7)  # numpy's own generator is none of its sources
        again = [second(np.ascontiguousarray(mirrored), np.random.default_rng(seed)) for seed in range(12)]
        np.testing.assert_array_equal(results, again)
        assert len({result.tobytes() for result in results}) > 3


class TestNames:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("rand", RandAugment()),
            ("rand-m7-mstd0.5-inc1", RandAugment(7, 2, 0.5, increasing=True)),
            ("rand-inc1-mstd0.5-m6", RandAugment(6, 2, 0.5, increasing=True)),
            ("rand-m9-n3-mstd0.5", RandAugment(9, 3, 0.5)),
            ("rand-m15-mmax20-p0.25-mstd101-inc0", RandAugment(15, 2, math.inf, 20, False, 0.25)),
            ("randaugment", BinnedRandAugment(2, 9)),
            ("randaugment-m30-n1-nearest", BinnedRandAugment(1, 30, NEAREST)),
            ("ta_wide", TrivialAugment(BILINEAR)),
            ("ta_wide-nearest", TrivialAugment(NEAREST)),
            ("augmix", AugMix(3, 3, -1, 1.0, BILINEAR)),
            ("augmix-s5-w4-d-1-a0.5-nearest", AugMix(5, 4, -1, 0.5, NEAREST)),
            ("augmix-d2", AugMix(depth=2)),
        ],
    )
    def test_sections(self, name, expected):
        assert policy(name) == expected

    @pytest.mark.parametrize("name", ["", "autoaugment", "rand9", "Rand-m7", "ra", "rand m7"])
    def test_what_there_is_not(self, name):
        with pytest.raises(InputError, match=rf"--auto_augment={name}: .*{', '.join(SYNTAX)}"):
            policy(name)

    @pytest.mark.parametrize(
        ("name", "listed"),
        [
            *((name, "m, n, p, mstd, mmax, inc") for name in ("rand-x3", "rand-7", "rand-m", "rand-", "rand-m7-m8")),
            *((name, "m, n, p, mstd, mmax, inc") for name in ("rand-mstdinf", "rand-tweights", "rand-m7-nearest")),
            ("randaugment-mstd1", "n, m"),
            ("ta_wide-n2", "take none"),
            ("augmix-m3", "s, w, d, a"),
            ("3a-nearest", "take none"),
        ],
    )
    def test_what_is_no_section(self, name, listed):
        with pytest.raises(InputError, match=f"--auto_augment={name}: .*{listed}"):
            policy(name)

    @pytest.mark.parametrize(
        ("name", "section"),
        [
            *(("rand-m7.5", "m"), ("rand-m-1", "m"), ("rand-p1.5", "p"), ("rand-n0", "n"), ("rand-inc2", "inc")),
            *(("randaugment-m31", "m"), ("augmix-s0", "s"), ("augmix-s11", "s"), ("augmix-a0", "a")),
            *(("augmix-d-2", "d"), ("augmix-w2.5", "w")),
        ],
    )
    def test_what_is_no_value(self, name, section):
        with pytest.raises(InputError, match=f"--auto_augment={name}: {section} must be"):
            policy(name)


class TestTimmsRandAugment:
    def test_operations_are_drawn_as_often_and_applied_with_their_probability(self):
        augment = RandAugment(7, 3, 0.5, increasing=True, probability=0.4)
        drawn = [augment.draw(np.random.default_rng(seed)) for seed in range(3000)]
        counts = Counter(step.name for steps in drawn for step in steps)
        assert abs(counts.total() - 0.4 * 9000) < 4 * math.sqrt(9000 * 0.24)
        assert_as_often(counts, timm_randaugment.INCREASING_MAGNITUDES, counts.total())
        filters = Counter(step.resample for steps in drawn for step in steps if step.name in GEOMETRY)
        assert_as_often(filters, (BILINEAR, BICUBIC), filters.total())
        signs = Counter(step.magnitude > 0 for steps in drawn for step in steps if step.name in GEOMETRY)
        assert_as_often(signs, (True, False), signs.total())

    @pytest.mark.parametrize(
        ("level", "std", "highest", "mean", "spread", "most"),
        # Rotate's magnitude is 3 degrees a level.
        [(7, 0.5, 10, 21, 1.5, 30), (5, math.inf, 10, 7.5, 7.5 / math.sqrt(3), 15), (9, 0, 10, 27, 0, 27)],
    )
    def test_noise_on_the_level(self, level, std, highest, mean, spread, most):
        augment = RandAugment(level, 1, std, highest, probability=1.0)
        steps = [step for seed in range(9000) for step in augment.draw(np.random.default_rng(seed))]
        degrees = np.array([abs(step.magnitude) for step in steps if step.name == "Rotate"])
        assert abs(degrees.mean() - mean) <= 4 * spread / math.sqrt(len(degrees)) + 1e-9
        assert abs(degrees.std() - spread) <= 4 * spread / math.sqrt(2 * len(degrees)) + 1e-9
        assert degrees.max() <= most + 1e-9

    @pytest.mark.parametrize(("highest", "most"), [(10, 30), (12, 36)])
    def test_levels_are_kept_below_the_highest(self, highest, most):
        augment = RandAugment(20, 1, 1.0, highest, probability=1.0)
        steps = [step for seed in range(300) for step in augment.draw(np.random.default_rng(seed))]
        assert {abs(step.magnitude) for step in steps if step.name == "Rotate"} == {most}

    def test_no_probability_leaves_the_image(self):
        assert RandAugment(probability=0.0)(IMAGE, np.random.default_rng(0)) is IMAGE

    def test_beyond_the_edges_is_the_mean_color(self):
        white = np.full((32, 32, 3), 255, np.uint8)
        augment = RandAugment(10, 1, probability=1.0)
        seeds = [s for s in range(300) if augment.draw(np.random.default_rng(s))[0].name.startswith("TranslateX")]
        corners = {tuple(augment(white, np.random.default_rng(s))[0, x].tolist()) for s in seeds for x in (0, -1)}
        assert corners == {(124, 116, 104), (255, 255, 255)}

    @pytest.mark.parametrize("name", ["Color", "Contrast", "Brightness", "Sharpness", "Posterize", "Solarize"])
    def test_increasing_tables_go_away_from_the_image(self, name):
        levels = np.linspace(0, 10, 21)
        unchanged = {"Posterize": 4, "Solarize": 256}.get(name, 1.0)
        for sign in (1, -1):
            distances = [abs(timm_randaugment.INCREASING_MAGNITUDES[name](level, sign) - unchanged) for level in levels]
            assert distances[0] == 0
            assert (np.diff(distances) >= 0).all()
            assert distances[-1] > 0


class TestBins:
    @pytest.mark.parametrize(("augment", "count"), [(BinnedRandAugment(3, 9), 3), (TrivialAugment(), 1)])
    def test_operations_are_drawn_as_often(self, augment, count):
        steps = [step for seed in range(4000) for step in augment.draw(np.random.default_rng(seed), 224, 224)]
        assert len(steps) == 4000 * count
        assert_as_often(
            Counter(step.name for step in steps), ("Identity", *torchvision_policies.OPERATIONS), len(steps)
        )
        signs = Counter(step.magnitude > 0 for step in steps if step.name in ("Rotate", "ShearX") and step.magnitude)
        assert_as_often(signs, (True, False), signs.total())

    def test_rand_augment_keeps_to_its_bin(self):
        steps = [s for seed in range(500) for s in BinnedRandAugment(2, 9).draw(np.random.default_rng(seed), 300, 200)]
        seen = {name: {abs(step.magnitude) for step in steps if step.name == name} for name in ("Rotate", "Posterize")}
        assert seen == {"Rotate": {9.0}, "Posterize": {7}}
        # 150/331 of the width and of the height, of which bin 9 of 30.
        assert {abs(step.magnitude) for step in steps if step.name == "TranslateX"} == {27}
        assert {abs(step.magnitude) for step in steps if step.name == "TranslateY"} == {40}
        colors = {round(step.magnitude, 9) for step in steps if step.name == "Color"}
        assert colors == {1.27, 0.73}

    def test_trivial_augment_draws_every_bin_as_often(self):
        steps = [s for seed in range(9000) for s in TrivialAugment().draw(np.random.default_rng(seed), 224, 224)]
        degrees = Counter(round(abs(step.magnitude), 6) for step in steps if step.name == "Rotate")
        assert_as_often(degrees, [4.5 * index for index in range(31)], degrees.total())


class TestAugMix:
    def test_is_the_weighted_sum_of_its_chains(self):
        mix = AugMix()
        for seed in range(20):
            kept, weights, chains = mix.draw(np.random.default_rng(seed), 24, 37)
            assert kept + weights.sum() == pytest.approx(1)
            assert (weights >= 0).all()
            sides = [np.asarray(apply_steps(Image.fromarray(IMAGE), chain)).astype(float) for chain in chains]
            expected = kept * IMAGE + sum(w * side for w, side in zip(weights, sides, strict=True))
            # Half a level of rounding, and float32.
            assert abs(mix(IMAGE, np.random.default_rng(seed)) - expected).max() <= 0.5 + 1e-4

    def test_a_white_image_stays_white(self):
        white = np.full((8, 8, 3), 255, np.uint8)
        mix, tried = AugMix(width=1, depth=1), 0
        for seed in range(200):
            _, _, [[step]] = mix.draw(np.random.default_rng(seed), 8, 8)
            if step.name in ("AutoContrast", "Equalize", "Sharpness", "Color"):
                tried += 1
                assert (mix(white, np.random.default_rng(seed)) == 255).all()
        assert tried > 30

    def test_draws_what_its_sections_say(self):
        drawn = [AugMix().draw(np.random.default_rng(seed), 224, 224) for seed in range(2000)]
        depths = Counter(len(chain) for _, _, chains in drawn for chain in chains)
        assert_as_often(depths, (1, 2, 3), 6000)
        steps = [step for _, _, chains in drawn for chain in chains for step in chain]
        assert_as_often(Counter(step.name for step in steps), torchvision_policies.OPERATIONS, len(steps))
        degrees = Counter(round(abs(step.magnitude), 6) for step in steps if step.name == "Rotate")
        assert_as_often(degrees, [0, round(10 / 3, 6), round(20 / 3, 6)], degrees.total())
        kept = np.array([k for k, _, _ in drawn])  # uniform, as Beta(1, 1)
        assert abs(kept.mean() - 0.5) < 4 * math.sqrt(1 / 12 / 2000)
        assert abs(kept.std() - math.sqrt(1 / 12)) < 0.01
        deep = AugMix(width=5, depth=4).draw(np.random.default_rng(0), 224, 224)
        assert [len(chain) for chain in deep[2]] == [4] * 5
        assert all(isinstance(step, Step) for chain in deep[2] for step in chain)
