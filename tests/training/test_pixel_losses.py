"""Losses of masks, against plain loops, torch's conventions and optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from resnet_jax.errors import InputError
from resnet_jax.runtime.batch import IGNORE
from resnet_jax.training.pixel_losses import PIXEL_LOSSES, class_weights_of, make_pixel_loss

K = 3


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(0)
    label = rng.integers(0, K, (3, 6, 5)).astype(np.int32)
    label[0, :2] = IGNORE
    label[2] = IGNORE
    return rng.normal(size=(3, 6, 5, K)).astype(np.float32), label


def by_pixel(logits, label, function):
    """The mean of a function of (probabilities [K], class) over each image's counted pixels."""
    p = np.asarray(jax.nn.softmax(logits))
    means = []
    for b in range(len(label)):
        each = [function(p[b, y, x], label[b, y, x]) for y, x in np.ndindex(label[b].shape) if label[b, y, x] != IGNORE]
        means.append(np.mean(each) if each else 0.0)
    return means


def test_cross_entropy_is_the_mean_over_counted_pixels(drawn):
    logits, label = drawn
    losses = make_pixel_loss()(jnp.asarray(logits), {"label": jnp.asarray(label)})
    np.testing.assert_allclose(losses, by_pixel(logits, label, lambda p, k: -np.log(p[k])), rtol=1e-5)
    assert losses[2] == 0  # no pixel counts


def test_class_weights_multiply_a_pixels_loss(drawn):
    logits, label = drawn
    weights = np.array([0.5, 1.0, 4.0], np.float32)
    losses = make_pixel_loss(class_weights=weights)(jnp.asarray(logits), {"label": jnp.asarray(label)})
    expected = by_pixel(logits, label, lambda p, k: -weights[k] * np.log(p[k]))
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_focal_loss_turns_to_hard_pixels(drawn):
    logits, label = drawn
    losses = make_pixel_loss("focal")(jnp.asarray(logits), {"label": jnp.asarray(label)})
    expected = by_pixel(logits, label, lambda p, k: -((1 - p[k]) ** 2) * np.log(p[k]))
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_dice_is_optaxs_where_every_pixel_counts(drawn):
    logits, label = drawn
    label = np.where(label == IGNORE, 0, label)
    losses = make_pixel_loss("dice")(jnp.asarray(logits), {"label": jnp.asarray(label)})
    expected = optax.losses.dice_loss(jnp.asarray(logits), jax.nn.one_hot(label, K))
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_what_a_pixel_that_does_not_count_predicts_is_all_one(drawn):
    logits, label = drawn
    other = np.where((label == IGNORE)[..., None], 7 * logits[::-1], logits)
    for kind in PIXEL_LOSSES:
        loss, batch = make_pixel_loss(kind), {"label": jnp.asarray(label)}
        np.testing.assert_allclose(loss(jnp.asarray(logits), batch), loss(jnp.asarray(other), batch), rtol=1e-6)
        gradient = jax.grad(lambda x, loss=loss, batch=batch: loss(x, batch).sum())(jnp.asarray(logits))
        assert float(jnp.abs(jnp.where((label == IGNORE)[..., None], gradient, 0)).max()) == 0


def test_the_sum_of_both_is_the_sum_of_both(drawn):
    logits, batch = jnp.asarray(drawn[0]), {"label": jnp.asarray(drawn[1])}
    both = make_pixel_loss("entropy_and_dice")(logits, batch)
    np.testing.assert_allclose(
        both, make_pixel_loss()(logits, batch) + make_pixel_loss("dice")(logits, batch), rtol=1e-6
    )


def test_overlapping_classes_are_optaxs_sigmoids():
    rng = np.random.default_rng(1)
    label = rng.integers(0, 2, (2, 4, 5, K)).astype(np.int32)
    logits = jnp.asarray(rng.normal(size=label.shape), jnp.float32)
    batch = {"label": jnp.asarray(label)}
    expected = optax.losses.sigmoid_binary_cross_entropy(logits, label).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(make_pixel_loss(binary=True)(logits, batch), expected, rtol=1e-5)
    focal = optax.losses.sigmoid_focal_loss(logits, label).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(make_pixel_loss("focal", binary=True)(logits, batch), focal, rtol=1e-5)
    one = make_pixel_loss("dice", binary=True)(logits[..., :1], {"label": batch["label"][..., :1]})
    np.testing.assert_allclose(one, optax.losses.dice_loss(logits[..., :1], jnp.asarray(label[..., :1])), rtol=1e-5)


def test_weights_are_one_on_average_over_the_pixels():
    pixels, beside = np.array([800, 150, 50, 0]), np.array([1000, 500, 100, 0])
    assert class_weights_of("", pixels, beside) is None
    by_log = [1 / np.log(1.82), 1 / np.log(1.17), 1 / np.log(1.07)]
    for kind, raw in (
        ("balanced", [1 / 0.8, 1 / 0.15, 1 / 0.05]),
        ("median_frequency", [1 / 0.8, 1 / 0.3, 1 / 0.5]),
        ("log_frequency", by_log),
    ):
        weights = class_weights_of(kind, pixels, beside)
        assert weights is not None
        assert weights[3] == 0
        assert (weights * pixels).sum() / pixels.sum() == pytest.approx(1, rel=1e-5)
        np.testing.assert_allclose(weights[:3] / weights[0], np.array(raw) / raw[0], rtol=1e-5)


def test_an_overlapping_class_without_pixels_learns_that_it_is_nowhere():
    pixels = np.array([100, 0])
    np.testing.assert_array_equal(class_weights_of("balanced", pixels, pixels, binary=True), [1, 1])
    np.testing.assert_array_equal(class_weights_of("balanced", pixels, pixels), [1, 0])
    assert class_weights_of("balanced", np.array([0]), np.array([0]), binary=True) is None


def test_an_unknown_loss_is_refused():
    with pytest.raises(InputError, match="--loss=binary_cross_entropy is not for masks; take one of cross_entropy"):
        make_pixel_loss("binary_cross_entropy")


@pytest.mark.parametrize("kind", PIXEL_LOSSES)
def test_class_weights_scale_the_loss_of_each_overlapping_class(kind):
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=(2, 4, 4, 3)), jnp.float32)
    label = rng.integers(0, 2, logits.shape).astype(np.int32)
    weights = np.array([0.5, 1.0, 4.0], np.float32)

    def of_each_class(kind):
        loss = make_pixel_loss(kind, binary=True)
        return np.stack([loss(logits[..., k : k + 1], {"label": label[..., k : k + 1]}) for k in range(3)], axis=-1)

    by_hand = np.zeros(2)
    if kind != "dice":
        by_hand += (weights * of_each_class("focal" if kind == "focal" else "cross_entropy")).mean(axis=-1)
    if kind in ("dice", "entropy_and_dice"):
        by_hand += (weights * of_each_class("dice")).sum(axis=-1) / weights.sum()
    found = make_pixel_loss(kind, binary=True, class_weights=weights)(logits, {"label": label})
    np.testing.assert_allclose(found, by_hand, rtol=1e-5)


def test_the_weight_of_a_single_class_changes_nothing():
    logits = jnp.ones((1, 2, 2, 1))
    batch = {"label": np.array([0, 1, 1, 0], np.int32).reshape(1, 2, 2, 1)}
    weighted, plain = (make_pixel_loss(binary=True, class_weights=w)(logits, batch) for w in (np.ones(1), None))
    np.testing.assert_array_equal(weighted, plain)
