"""The losses that training minimizes, against their definitions in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.training.losses import (
    balanced_weights,
    binary_cross_entropy,
    cross_entropy,
    distillation,
    make_loss,
    smoothed_target,
)

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 3, (6, 5)).astype(np.float32)
LABEL = RNG.integers(0, 5, 6)
MIXED = RNG.dirichlet(np.ones(5), 6).astype(np.float32)
TEACHER = RNG.normal(0, 2, (6, 5)).astype(np.float32)


def log_softmax(x):
    x = np.asarray(x, np.float64)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def sigmoid_cross_entropy(x, target):
    p = 1 / (1 + np.exp(-np.asarray(x, np.float64)))
    return -(target * np.log(p) + (1 - target) * np.log(1 - p)).mean(axis=-1)


def test_smoothing_a_mixture_is_mixing_the_smoothed():
    first, second = (smoothed_target({"label": jnp.array(k)}, 4, 0.1) for k in ([0, 2], [3, 3]))
    onehot = [np.eye(4, dtype=np.float32)[k] for k in ([0, 2], [3, 3])]
    mixed = smoothed_target({"target": jnp.asarray(0.3 * onehot[0] + 0.7 * onehot[1])}, 4, 0.1)
    np.testing.assert_allclose(mixed, 0.3 * first + 0.7 * second, rtol=1e-6)
    np.testing.assert_allclose(mixed.sum(axis=-1), 1, rtol=1e-6)


def test_the_mixed_target_wins_over_the_label():
    batch = {"label": jnp.asarray(LABEL), "target": jnp.asarray(MIXED)}
    want = -(MIXED * log_softmax(LOGITS)).sum(axis=-1)
    np.testing.assert_allclose(cross_entropy(jnp.asarray(LOGITS), batch), want, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_binary_cross_entropy_asks_every_class(smoothing):
    batch = {"label": jnp.asarray(LABEL)}
    target = np.eye(5)[LABEL] * (1 - smoothing) + smoothing / 5
    got = binary_cross_entropy(jnp.asarray(LOGITS), batch, smoothing)
    np.testing.assert_allclose(got, sigmoid_cross_entropy(LOGITS, target), rtol=1e-5)


def test_a_threshold_asks_for_both_classes_of_a_mixture_in_full():
    target = np.array([[0.25, 0.75, 0, 0], [0.1, 0.9, 0, 0]], np.float32)
    got = binary_cross_entropy(jnp.asarray(LOGITS[:2, :4]), {"target": jnp.asarray(target)}, threshold=0.2)
    want = sigmoid_cross_entropy(LOGITS[:2, :4], np.array([[1, 1, 0, 0], [0, 1, 0, 0]]))
    np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_distillation_is_hintons(temperature):
    ours, theirs = log_softmax(LOGITS / temperature), log_softmax(TEACHER / temperature)
    want = temperature**2 * (np.exp(theirs) * (theirs - ours)).sum(axis=-1)
    got = distillation(jnp.asarray(LOGITS), jnp.asarray(TEACHER), temperature)
    np.testing.assert_allclose(got, want, rtol=1e-4)


def test_hard_distillation_learns_the_teachers_best_class():
    want = -log_softmax(LOGITS)[np.arange(6), TEACHER.argmax(axis=-1)]
    np.testing.assert_allclose(distillation(jnp.asarray(LOGITS), jnp.asarray(TEACHER), 0.0), want, rtol=1e-5)


def test_the_teacher_is_not_trained():
    gradient = jax.grad(lambda t: distillation(jnp.asarray(LOGITS), t, 2.0).sum())(jnp.asarray(TEACHER))
    assert not np.asarray(gradient).any()


@pytest.mark.parametrize("kind", ["cross_entropy", "binary_cross_entropy"])
def test_the_teacher_has_its_share_of_the_loss(kind):
    batch = {"label": jnp.asarray(LABEL)}
    loss = make_loss(kind, smoothing=0.1, distill_weight=0.25, temperature=2.0)
    alone = loss(jnp.asarray(LOGITS), batch)
    both = loss(jnp.asarray(LOGITS), batch | {"teacher": jnp.asarray(TEACHER)})
    taught = distillation(jnp.asarray(LOGITS), jnp.asarray(TEACHER), 2.0)
    np.testing.assert_allclose(both, 0.75 * alone + 0.25 * taught, rtol=1e-5)


def test_balanced_weights_are_inverse_to_the_classes_and_one_on_average():
    labels = np.repeat(np.arange(5), [1, 2, 0, 3, 6])
    weights = balanced_weights(labels, 5)
    np.testing.assert_allclose(weights, [3, 1.5, 0, 1, 0.5])
    assert weights[labels].mean() == pytest.approx(1)


WEIGHTS = np.array([2, 1, 0.5, 4, 0.25], np.float32)


@pytest.mark.parametrize("kind", ["cross_entropy", "binary_cross_entropy"])
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("taught", [False, True])
def test_the_class_weights_multiply_the_whole_loss_of_an_example(kind, mixed, taught):
    batch = {"label": jnp.asarray(LABEL)}
    batch |= {"target": jnp.asarray(MIXED)} if mixed else {}
    batch |= {"teacher": jnp.asarray(TEACHER)} if taught else {}
    plain, weighted = (make_loss(kind, smoothing=0.1, distill_weight=0.5, class_weights=w) for w in (None, WEIGHTS))
    factors = MIXED @ WEIGHTS if mixed else WEIGHTS[LABEL]
    got = weighted(jnp.asarray(LOGITS), batch)
    np.testing.assert_allclose(got, factors * plain(jnp.asarray(LOGITS), batch), rtol=1e-5)


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="hinge"):
        make_loss("hinge")
