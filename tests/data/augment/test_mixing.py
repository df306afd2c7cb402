import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from resnet_jax.data.augment import mixing
from resnet_jax.errors import InputError

CLASSES = 5
COLLECTIVES = r"\b(all-gather|all-reduce|all-to-all|collective-permute|collective-broadcast|reduce-scatter)\b"


def batch_of(size: int, height: int = 8, width: int = 12) -> dict[str, jax.Array]:
    rng = np.random.default_rng(size)
    return {
        "image": jnp.asarray(rng.normal(size=(size, height, width, 3)), jnp.float32),
        "label": jnp.asarray(rng.integers(0, CLASSES, size), jnp.int32),
        "mask": jnp.ones(size),
        "index": jnp.arange(size),
    }


def neighbors(size: int) -> list[int]:
    return [i ^ 1 if i ^ 1 < size else i for i in range(size)]


def mixed_by_numpy(batch: dict, pixels: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Images and targets, one example after another."""
    image, label = np.asarray(batch["image"], np.float64), np.asarray(batch["label"])
    images, targets = np.empty_like(image), np.zeros((len(label), CLASSES))
    for i, j in enumerate(neighbors(len(label))):
        images[i] = pixels[:, :, None] * image[i] + (1 - pixels[:, :, None]) * image[j]
        targets[i, label[i]] += share
        targets[i, label[j]] += 1 - share
    return images, targets


def mixes(count: int, height: int, width: int, **options) -> tuple[np.ndarray, np.ndarray]:
    """Own shares by pixel [count,H,W] and by label [count] of many mixtures, read off two constant images."""
    two = {
        "image": jnp.stack([jnp.ones((height, width, 1)), jnp.zeros((height, width, 1))]),
        "label": jnp.array([0, 1]),
    }

    @jax.jit
    def shares(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        out = mixing.mix(two, key, num_classes=2, **options)
        return out["image"][0, :, :, 0], out["target"][0, 0]

    pixels, labels = jax.lax.map(shares, jax.random.split(jax.random.key(0), count))
    return np.asarray(pixels), np.asarray(labels)


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_mixup_is_the_weighted_mean_with_the_neighbor(size):
    batch = batch_of(size)
    out = mixing.mix_by(batch, mixing.even_shares(0.3, 8, 12), CLASSES)
    images, targets = mixed_by_numpy(batch, np.full((8, 12), 0.3), 0.3)
    np.testing.assert_allclose(out["image"], images, atol=1e-6)
    np.testing.assert_allclose(out["target"], targets, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(
    size=st.integers(1, 6),
    row=st.integers(0, 7),
    column=st.integers(0, 11),
    outside=st.floats(0, 1, width=32),
)
def test_cutmix_pastes_the_box_and_counts_its_pixels(size, row, column, outside):
    batch = batch_of(size)
    half_height, half_width = (int(np.sqrt(np.float32(1 - outside)) / 2 * side) for side in (8, 12))
    pixels = np.ones((8, 12))
    pixels[max(0, row - half_height) : row + half_height, max(0, column - half_width) : column + half_width] = 0
    box = mixing.clipped_box(jnp.array([row, column]), jnp.float32(outside), 8, 12)
    out = mixing.mix_by(batch, mixing.shares_outside(box, 8, 12), CLASSES)
    images, targets = mixed_by_numpy(batch, pixels, pixels.mean())
    np.testing.assert_array_equal(out["image"], images.astype(np.float32))
    np.testing.assert_allclose(out["target"], targets, atol=1e-6)


@pytest.mark.parametrize("function", [mixing.mixup, mixing.cutmix])
def test_each_of_the_two_mixes_as_it_should_and_leaves_the_rest(function):
    batch = batch_of(6)
    out = function(batch, jax.random.key(4), 1.0, CLASSES)
    image, partner = np.asarray(batch["image"]), np.asarray(batch["image"])[neighbors(6)]
    share = (np.asarray(out["image"]) - partner) / (image - partner)
    np.testing.assert_allclose(share, share[:1, :, :, :1] + np.zeros_like(share), atol=1e-3)
    if function is mixing.mixup:
        assert share.min() > 0.01
        assert share.max() - share.min() < 1e-3
        assert share.max() < 0.99
    else:
        np.testing.assert_allclose(share, share.round(), atol=1e-6)
        assert 0 < share.mean() < 1
    label = np.asarray(batch["label"])
    own = share[0, :, :, 0].mean()
    expected = own * np.eye(CLASSES)[label] + (1 - own) * np.eye(CLASSES)[label[neighbors(6)]]
    np.testing.assert_allclose(out["target"], expected, atol=1e-3)
    assert out["target"].dtype == out["image"].dtype == jnp.float32
    assert out.keys() == batch.keys() | {"target"}
    for name in ("label", "mask", "index"):
        np.testing.assert_array_equal(out[name], batch[name])


@pytest.mark.slow
def test_shares_are_drawn_from_beta_and_boxes_about_every_pixel():
    _, even = mixes(3000, 4, 4, mixup_alpha=0.2, cutmix_alpha=0.0)
    assert abs(even.mean() - 0.5) < 0.03
    assert abs(even.std() - np.sqrt(1 / (4 * (2 * 0.2 + 1)))) < 0.02
    pixels, outside = mixes(3000, 16, 8, mixup_alpha=0.0, cutmix_alpha=1.0)
    np.testing.assert_allclose(outside, pixels.mean(axis=(1, 2)), atol=1e-6)
    # How often numpy covers each pixel with such boxes.
    rng = np.random.default_rng(0)
    half = np.floor(np.sqrt(1 - rng.random(30_000))[:, None] / 2 * [16, 8])
    from_center = np.arange(16) - rng.integers(0, [16, 8], (30_000, 2))[:, :, None]
    inside = (-half[:, :, None] <= from_center) & (from_center < half[:, :, None])
    covered = (inside[:, 0, :, None] & inside[:, 1, None, :8]).mean(axis=0)
    assert covered.max() > covered.min() + 0.2
    np.testing.assert_allclose(1 - pixels.mean(axis=0), covered, atol=0.035)


@pytest.mark.slow
@pytest.mark.parametrize(("probability", "switch"), [(1.0, 0.5), (0.6, 0.5), (0.6, 0.2), (0.0, 0.5)])
def test_a_batch_is_mixed_and_switched_as_often_as_asked(probability, switch):
    options = {"probability": probability, "switch_probability": switch}
    pixels, labels = mixes(2000, 32, 32, mixup_alpha=0.8, cutmix_alpha=1.0, **options)
    left = (pixels == 1).all(axis=(1, 2))
    cut = ~left & ((pixels == 0) | (pixels == 1)).all(axis=(1, 2))
    assert (labels[left] == 1).all()
    # One CutMix in a few hundred has no box: sqrt(1 - share) / 2 of 32 pixels is less than one.
    assert abs(left.mean() - (1 - probability)) < 0.035
    assert abs(cut.mean() - probability * switch) < 0.035


def test_no_alpha_is_refused():
    with pytest.raises(InputError, match="neither mixup"):
        mixing.mix(batch_of(2), jax.random.key(0), num_classes=2, mixup_alpha=0.0, cutmix_alpha=0.0)


class TestOnEightDevices:
    sharding = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data"))

    @staticmethod
    def mix(batch: dict[str, jax.Array], key: jax.Array) -> dict[str, jax.Array]:
        return mixing.mix(batch, key, num_classes=CLASSES, mixup_alpha=0.2, cutmix_alpha=1.0, probability=0.9)

    def compiled(self, size: int) -> str:
        batch = jax.device_put(batch_of(size), self.sharding)
        text = jax.jit(self.mix).lower(batch, jax.random.key(0)).compile().as_text()
        assert text
        return text

    @pytest.mark.parametrize("size", [16, 48])
    def test_mixing_needs_no_communication(self, size):
        assert re.findall(COLLECTIVES, self.compiled(size)) == []

    def test_an_odd_share_would_need_it(self):
        assert re.findall(COLLECTIVES, self.compiled(24)) != []

    @pytest.mark.parametrize("size", [16, 24])
    def test_the_result_is_that_of_one_device(self, size):
        batch = batch_of(size)
        for seed in range(4):
            alone = jax.jit(self.mix)(batch, jax.random.key(seed))
            divided = jax.jit(self.mix)(jax.device_put(batch, self.sharding), jax.random.key(seed))
            assert divided["target"].sharding == divided["image"].sharding == self.sharding
            for name in alone:
                np.testing.assert_allclose(alone[name], divided[name], atol=1e-6)
