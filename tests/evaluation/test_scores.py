"""Scores of several views and of several passes, against numpy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.evaluation.scores import Scores, collect, mean_scores, score_sums
from resnet_jax.inference.tta import log_mean_scores, of_crops_and_mirror_images
from resnet_jax.training.metrics import mean_metrics

RNG = np.random.default_rng(0)


def softmax(x):
    e = np.exp(x.astype(np.float64) - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def test_scores_and_not_logits_are_averaged():
    logits = (5 * RNG.normal(size=(3, 4, 6))).astype(np.float32)
    found = np.exp(log_mean_scores(jnp.asarray(logits)))
    np.testing.assert_allclose(found, softmax(logits).mean(axis=1), rtol=1e-5)
    assert np.abs(found - softmax(logits.mean(axis=1))).max() > 0.05


def test_scores_too_small_for_a_float_keep_their_logarithm():
    logits = jnp.asarray([[[0.0, 300.0], [0.0, 400.0]]])
    np.testing.assert_allclose(log_mean_scores(logits), [[-300 - np.log(2), 0]], rtol=1e-6)


def test_every_crop_and_its_mirror_image_belong_to_their_own_image():
    crops = RNG.normal(size=(3, 5, 4, 4, 2)).astype(np.float32)
    kernel = RNG.normal(size=(32, 7)).astype(np.float32)
    apply = lambda variables, x: variables * (x.reshape(len(x), -1) @ kernel)  # noqa: E731
    found = of_crops_and_mirror_images(apply, 0.3, jnp.asarray(crops))
    for image, answer in zip(crops, np.asarray(found), strict=True):
        views = [view for crop in image for view in (crop, crop[:, ::-1])]
        mean = np.mean([softmax(0.3 * (view.reshape(-1) @ kernel)) for view in views], axis=0)
        np.testing.assert_allclose(np.exp(answer), mean, rtol=1e-4)


def answers(order, mask=None):
    """A pass in an order, two at a time, of examples whose scores are their numbers."""
    rows = np.asarray(order)
    mask = np.ones(len(rows)) if mask is None else np.asarray(mask)
    log_scores = np.stack([rows, -rows], axis=1).astype(np.float32)
    whole = {"log_scores": log_scores, "label": rows % 2, "mask": mask, "index": rows}
    return [{name: value[i : i + 2] for name, value in whole.items()} for i in range(0, len(rows), 2)]


def test_a_pass_may_come_in_any_order_and_padding_is_left_out():
    scores = collect(answers([3, 1, 0, 2, 4, 0], [1, 1, 1, 1, 1, 0]), lambda b: b, 5)
    np.testing.assert_array_equal(scores.log_scores[:, 0], np.arange(5))
    np.testing.assert_array_equal(scores.label, np.arange(5) % 2)


@pytest.mark.parametrize("order", [[0, 1, 2], [0, 1, 1, 3], [0, 1, 2, 3, 3]])
def test_a_pass_that_leaves_out_or_repeats_an_example_is_refused(order):
    with pytest.raises(ValueError, match=r"left out and \d came more than once"):
        collect(answers(order), lambda b: b, 4)


def test_all_passes_weigh_the_same():
    logits = (4 * RNG.normal(size=(3, 6, 5))).astype(np.float32)
    label = np.arange(6, dtype=np.int32) % 5
    passes = [Scores(np.asarray(jax.nn.log_softmax(jnp.asarray(x))), label) for x in logits]
    mean = softmax(logits).mean(axis=0)
    np.testing.assert_allclose(np.exp(mean_scores(iter(passes)).log_scores), mean, rtol=1e-5)


def test_other_labels_are_refused_and_so_is_nothing():
    scores = partial(Scores, np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match="same examples"):
        mean_scores([scores(np.array([0, 1])), scores(np.array([1, 0]))])
    with pytest.raises(ValueError, match="no pass"):
        mean_scores([])


def test_sums_over_many_rows_are_counted_once():
    scores = RNG.normal(size=(4099, 7)).astype(np.float32)
    log_scores = np.asarray(jax.nn.log_softmax(jnp.asarray(scores)))
    label = RNG.integers(0, 7, 4099).astype(np.int32)
    found = mean_metrics(score_sums(Scores(log_scores, label)))
    order = np.argsort(-log_scores, axis=1)
    assert found["num_examples"] == 4099
    assert found["top1"] == pytest.approx((order[:, 0] == label).mean())
    assert found["top5"] == pytest.approx((order[:, :5] == label[:, None]).any(axis=1).mean())
    assert found["loss"] == pytest.approx(-log_scores[np.arange(4099), label].mean(), rel=1e-5)
