"""Metrics of pixels, against plain loops and scikit-learn."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import confusion_matrix as by_sklearn

from resnet_jax.runtime.batch import IGNORE
from resnet_jax.training.metrics import add_counts, add_sums, zeros_like_sums
from resnet_jax.training.pixel_metrics import (
    boundary_sums,
    pixel_confusion,
    pixel_metrics,
    pixel_metrics_text,
    pixel_sums,
    scores_of_confusion,
    within,
    zero_pixel_sums,
)
from resnet_jax.workdir.metrics_log import score_text

B, H, W, K = 5, 13, 17, 4


@pytest.fixture(scope="module")
def batch() -> tuple[Any, Any]:
    """Logits, and a batch with void pixels, a class that is nowhere, and an example that is padding."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, K - 1, (B, H, W)).astype(np.int32)
    label[rng.random(label.shape) < 0.2] = IGNORE
    logits = rng.normal(size=(B, H, W, K)).astype(np.float32)
    mask = np.array([1, 1, 0, 1, 1], np.float32)
    return jnp.asarray(logits), {"label": jnp.asarray(label), "mask": jnp.asarray(mask)}


def counted(batch):
    logits, b = batch
    label, rows = np.asarray(b["label"]), np.asarray(b["mask"]) > 0
    valid = (label != IGNORE) & rows[:, None, None]
    return label[valid], np.asarray(logits).argmax(-1)[valid]


def test_the_confusion_matrix_is_scikit_learns(batch):
    sums = pixel_sums(batch[0], batch[1], jnp.zeros(B))
    true, found = counted(batch)
    np.testing.assert_array_equal(pixel_confusion(sums), by_sklearn(true, found, labels=range(K)))
    assert float(sums["count"]) == 4


def test_the_scores_are_those_of_a_loop(batch):
    true, found = counted(batch)
    row = pixel_metrics(pixel_sums(batch[0], batch[1], jnp.ones(B)), [f"c{k}" for k in range(K)])
    ious, accuracies, weighted = [], [], 0.0
    for k in range(K):
        inside, union = ((true == k) & (found == k)).sum(), ((true == k) | (found == k)).sum()
        ious.append(inside / union)
        assert row[f"iou/c{k}"] == pytest.approx(inside / union)
        if (true == k).any():
            accuracies.append(inside / (true == k).sum())
            weighted += (true == k).mean() * ious[-1]
    assert row["miou"] == pytest.approx(np.mean(ious))  # the last class is predicted, and never there: 0
    assert row["class_accuracy"] == pytest.approx(np.mean(accuracies))
    assert row["pixel_accuracy"] == pytest.approx((true == found).mean())
    assert row["frequency_weighted_iou"] == pytest.approx(weighted)
    assert row["loss"] == 1
    assert row["num_examples"] == 4


def test_a_mean_of_nothing_is_not_in_a_row_of_the_log():
    """Binary masks without a pixel of the class, and a prediction without one, are right at every pixel."""
    batch = {"label": jnp.zeros((B, H, W, 1), jnp.int32), "mask": jnp.ones(B)}
    logits = jnp.full((B, H, W, 1), -3.0)
    sums = pixel_sums(logits, batch, jnp.ones(B), threshold=0.5) | boundary_sums(logits, batch, threshold=0.5)
    row = pixel_metrics(sums, ["crack"])
    assert row == {"loss": 1, "miou": 1, "pixel_accuracy": 1, "num_examples": B}
    assert pixel_metrics_text(row) == "mean IoU 1.0000, pixel accuracy 1.0000"


@pytest.mark.parametrize("threshold", [None, 0.5])
def test_a_row_has_a_score_where_no_pixel_counts(threshold):
    """Such as the row of a log interval whose crops lie in the void."""
    shape = (B, H, W) if threshold is None else (B, H, W, 1)
    batch = {"label": jnp.full(shape, IGNORE, jnp.int32), "mask": jnp.ones(B)}
    row = pixel_metrics(
        pixel_sums(jnp.zeros((B, H, W, 1 if threshold else K)), batch, jnp.ones(B), threshold=threshold)
    )
    assert row == {"loss": 1, "miou": 0, "num_examples": B}
    assert score_text(row) == "mean IoU 0.0000"


def test_a_class_that_is_nowhere_is_in_no_mean():
    scores = scores_of_confusion(np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]]))
    assert np.isnan(scores["iou"][2])
    assert scores["miou"] == pytest.approx((3 / 6 + 4 / 7) / 2)
    assert scores["class_accuracy"] == pytest.approx((3 / 4 + 4 / 6) / 2)


def test_overlapping_classes_have_a_matrix_each():
    rng = np.random.default_rng(1)
    label = rng.integers(0, 2, (2, 6, 7, 3)).astype(np.int32)
    label[0, 0] = IGNORE
    logits = rng.normal(size=label.shape).astype(np.float32)
    sums = pixel_sums(
        jnp.asarray(logits), {"label": jnp.asarray(label), "mask": jnp.ones(2)}, jnp.zeros(2), threshold=0.7
    )
    yes = 1 / (1 + np.exp(-logits)) > 0.7
    for k in range(3):
        valid = label[..., k] != IGNORE
        expected = by_sklearn(label[..., k][valid], yes[..., k][valid], labels=[0, 1])
        np.testing.assert_array_equal(pixel_confusion(sums)[k], expected)
    hits = ((label == 1) & yes).sum(axis=(0, 1, 2))
    union = (((label == 1) | yes) & (label != IGNORE)).sum(axis=(0, 1, 2))
    np.testing.assert_allclose(scores_of_confusion(pixel_confusion(sums))["iou"], hits / union)


def test_sums_of_parts_are_those_of_the_whole(batch):
    logits, b = batch
    whole = pixel_sums(logits, b, jnp.ones(B))
    parts = [pixel_sums(logits[s], {n: v[s] for n, v in b.items()}, jnp.ones(B)[s]) for s in (slice(0, 2), slice(2, 5))]
    for start in (zero_pixel_sums(K, binary=False), zeros_like_sums(whole)):
        total = add_sums(add_sums(start, parts[0]), parts[1])
        assert jax.tree.all(jax.tree.map(jnp.array_equal, total, whole))


def test_counts_are_exact_beyond_32_bits():
    total = jnp.zeros((2, 1), jnp.int32)
    for _ in range(9):
        total = add_counts(total, jnp.array([[2**30 - 1], [0]], jnp.int32))
    assert pixel_confusion({"pixels": total})[0] == 9 * (2**30 - 1)


@pytest.mark.parametrize("reach", [1.0, 2.3, 4.0])
def test_nearness_is_euclids(reach):
    rng = np.random.default_rng(2)
    member = rng.random((2, 20, 23, 2)) < 0.02
    found = np.asarray(within(jnp.asarray(member), reach))
    for b in range(2):
        for k in range(2):
            distance = ndimage.distance_transform_edt(~member[b, ..., k])
            np.testing.assert_array_equal(found[b, ..., k], distance <= reach)


def boundary_f_by_loops(label, found, k, reach):
    valid = label != IGNORE

    def edges(values):
        member = (values == k) & valid
        out = np.zeros_like(member)
        for y, x in zip(*np.nonzero(member), strict=True):
            for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
                a, b = y + dy, x + dx
                if 0 <= a < member.shape[0] and 0 <= b < member.shape[1] and valid[a, b] and not member[a, b]:
                    out[y, x] = True
        return out

    true, predicted = edges(label), edges(found)
    if not true.any():
        return None
    if not predicted.any():
        return 0.0
    to_true, to_predicted = (np.asarray(ndimage.distance_transform_edt(~edge)) for edge in (true, predicted))
    precision, recall = (to_true[predicted] <= reach).mean(), (to_predicted[true] <= reach).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def test_the_boundary_score_is_that_of_loops():
    rng = np.random.default_rng(3)
    label = np.kron(rng.integers(0, 3, (3, 4, 5)), np.ones((1, 9, 9), int)).astype(np.int32)
    found = np.roll(label, (1, 2), axis=(1, 2))
    label[:, 3:6, 20:] = IGNORE
    sums = boundary_sums(jax.nn.one_hot(found, 3), {"label": jnp.asarray(label), "mask": jnp.array([1.0, 1.0, 0.0])})
    reach = max(1.0, 0.0075 * np.hypot(*label.shape[1:]))
    for k in range(3):
        each = [boundary_f_by_loops(label[b], found[b], k, reach) for b in range(2)]
        each = [f for f in each if f is not None]
        assert float(sums["boundary_images"][k]) == len(each)
        assert float(sums["boundary_f"][k]) == pytest.approx(sum(each), abs=1e-5)


def test_a_batch_of_more_pixels_than_a_float_counts_is_exact():
    label = np.zeros((5, 2048, 2048), np.int32)  # 21 million of one class
    logits = np.zeros((5, 2048, 2048, 1), np.float32)
    sums = jax.jit(pixel_sums)(logits, {"label": label, "mask": np.ones(5, np.float32)}, jnp.zeros(5))
    assert pixel_confusion(sums).tolist() == [[5 * 2048**2]]


def test_a_picture_of_more_pixels_than_float32_counts_is_counted_exactly():
    size = (1, 4201, 5001)  # the product is odd and above 2^24
    batch = {"label": jnp.zeros(size, jnp.int32), "mask": jnp.ones(1)}
    sums = jax.jit(pixel_sums)(jnp.zeros((*size, 1)), batch, jnp.zeros(1))
    assert pixel_confusion(sums).tolist() == [[4201 * 5001]]
