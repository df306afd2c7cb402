"""Metrics of dense prediction, of counts of pixels: exact, whatever the batches, devices and processes were.

Labels are int32 [B,H,W] with one class a pixel, or [B,H,W,K] with 0 or 1 for each of K classes (binary masks have one);
pixels of IGNORE count nowhere.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from resnet_jax.runtime.batch import IGNORE, Batch
from resnet_jax.training.metrics import Sums, no_bad_step

# Part of an image's diagonal within which boundaries agree: Csurka et al. 2013, "What is a good evaluation measure for
# semantic segmentation?".
BOUNDARY_TOLERANCE = 0.0075

# In the order of `pixel_metrics_text`.
NAMES = {
    "miou": "mean IoU",
    "pixel_accuracy": "pixel accuracy",
    "class_accuracy": "class accuracy",
    "boundary_f": "boundary F",
}
EXACT = 2**24  # counts that float32 holds exactly


def zero_pixel_sums(num_classes: int, *, binary: bool) -> Sums:
    """Return the sums over no examples, with which a log interval starts; arguments as in `pixel_sums`."""
    shape = (2, num_classes, 2, 2) if binary else (2, num_classes, num_classes)
    zero = jnp.zeros((), jnp.float32)
    return {"loss": zero, "count": zero, "pixels": jnp.zeros(shape, jnp.int32)} | no_bad_step()


def pixel_sums(logits: jax.Array, batch: Batch, loss: jax.Array, *, threshold: float | None = None) -> Sums:
    """Return the sums over a batch's counted images: of the loss, and the confusion matrix of their pixels.

    Args:
        logits: float32 [B,H,W,K].
        batch: with labels and a mask [B].
        loss: [B], of each image.
        threshold: of the probability above which a pixel has a class, where classes do not exclude each other; None:
            a pixel has the one class of its highest logit.

    Returns:
        "loss" and "count", and "pixels": pairs as in `metrics.add_counts` of int32 [K,K], rows by true class, columns
        by predicted class; with a threshold [K,2,2], a matrix of "no" and "yes" for each class.
    """
    label, counted = batch["label"], batch["mask"] > 0
    predicted = predicted_labels(logits, threshold)
    valid = (label != IGNORE) & jnp.expand_dims(counted, tuple(range(1, label.ndim)))
    if threshold is None:
        classes = jnp.arange(logits.shape[-1]).reshape(1, 1, 1, -1)
        true = ((label[..., None] == classes) & valid[..., None]).astype(jnp.float32)
        found = (predicted[..., None] == classes).astype(jnp.float32)
        pairs = "bhwi,bhwj->bij"
    else:
        both = [jnp.stack([x == 0, x == 1], axis=-1) for x in (label, predicted)]
        true, found = (both[0] & valid[..., None]).astype(jnp.float32), both[1].astype(jnp.float32)
        pairs = "bhwki,bhwkj->bkij"
    # Sums of 0 and 1 in float32 are exact up to 2^24: larger pictures are counted in parts, of some rows each.
    rows = max(1, EXACT // label.shape[2])
    parts = [jnp.einsum(pairs, true[:, y : y + rows], found[:, y : y + rows]) for y in range(0, label.shape[1], rows)]
    count = sum(part.astype(jnp.int32).sum(axis=0) for part in parts)
    return {
        "loss": (loss * batch["mask"]).sum(),
        "count": batch["mask"].sum(),
        "pixels": jnp.stack([count, jnp.zeros_like(count)]),
    } | no_bad_step()


def predicted_labels(logits: jax.Array, threshold: float | None = None) -> jax.Array:
    """Return the class of each pixel, int32 [B,H,W]; with a threshold 0 or 1 for each class, int32 [B,H,W,K]."""
    if threshold is None:
        return logits.argmax(axis=-1).astype(jnp.int32)
    return (jax.nn.sigmoid(logits.astype(jnp.float32)) > threshold).astype(jnp.int32)


def boundary_sums(logits: jax.Array, batch: Batch, *, threshold: float | None = None) -> Sums:
    """Return the sums of the boundary F-scores of a batch's images, and how many have a boundary, by class.

    A class's boundary are its pixels beside a pixel of another class. Precision is the part of the predicted boundary
    that lies within BOUNDARY_TOLERANCE of the true one (1 pixel at least), recall the part of the true one within it of
    the predicted one. Images count whose mask has a boundary of the class.

    Args:
        logits: float32 [B,H,W,K].
        batch: with labels and a mask [B].
        threshold: as in `pixel_sums`.

    Returns:
        {"boundary_f": float32 [K], "boundary_images": float32 [K]}.
    """
    label, predicted = batch["label"], predicted_labels(logits, threshold)
    if threshold is None:
        classes = jnp.arange(logits.shape[-1]).reshape(1, 1, 1, -1)
        valid = jnp.broadcast_to((label != IGNORE)[..., None], logits.shape)
        true, found = (x[..., None] == classes for x in (label, predicted))
    else:
        valid, true, found = label != IGNORE, label == 1, predicted == 1
    reach = max(1.0, BOUNDARY_TOLERANCE * math.hypot(*logits.shape[1:3]))
    edges, found_edges = (boundary(x & valid, valid) for x in (true, found))
    precision = _share(found_edges, within(edges, reach))
    recall = _share(edges, within(found_edges, reach))
    f = 2 * precision * recall / jnp.maximum(precision + recall, 1e-9)
    has = edges.any(axis=(1, 2)) * batch["mask"][:, None]
    return {"boundary_f": (f * has).sum(axis=0), "boundary_images": has.sum(axis=0)}


def boundary(member: jax.Array, valid: jax.Array) -> jax.Array:
    """Return which pixels of a set [B,H,W,K] have a valid neighbor, up, down, left or right, that is not in it."""
    outside = valid & ~member
    beside = jnp.zeros_like(member)
    for axis in (1, 2):
        for by in (1, -1):
            beside |= _shifted(outside, by, axis, False)
    return member & beside


def within(member: jax.Array, reach: float) -> jax.Array:
    """Return which pixels [B,H,W,K] lie within `reach` pixels of a set, by Euclid's distance."""
    far = float(2 * (reach + 1) ** 2)
    squared = jnp.where(member, 0.0, far)
    for axis in (1, 2):  # the squared distance is the sum of those along the axes
        nearest = squared
        for by in range(1, int(reach) + 1):
            for sign in (by, -by):
                nearest = jnp.minimum(nearest, _shifted(squared, sign, axis, far) + by**2)
        squared = nearest
    return squared <= reach**2


def _shifted(x: jax.Array, by: int, axis: int, fill: Any) -> jax.Array:
    """Return x moved by some places along an axis, `fill` where nothing comes from."""
    length, size = x.shape[axis], min(abs(by), x.shape[axis])
    gap = jnp.full_like(jax.lax.slice_in_dim(x, 0, size, axis=axis), fill)
    if by > 0:
        return jnp.concatenate([gap, jax.lax.slice_in_dim(x, 0, length - size, axis=axis)], axis=axis)
    return jnp.concatenate([jax.lax.slice_in_dim(x, size, length, axis=axis), gap], axis=axis)


def _share(part: jax.Array, near: jax.Array) -> jax.Array:
    """Return the share of a set's pixels that are near, [B,K]; 0 of none."""
    return (part & near).sum(axis=(1, 2)) / jnp.maximum(part.sum(axis=(1, 2)), 1)


def pixel_confusion(sums: Sums) -> np.ndarray:
    """Return the pixels of sums on the host: int64 [K,K], or [K,2,2]."""
    low, high = np.asarray(jax.device_get(sums["pixels"]), np.int64)
    return low + (high << 30)


def scores_of_confusion(matrix: np.ndarray) -> dict[str, Any]:
    """Return the scores of a confusion matrix, int64 [K,K] with rows by true class, or [K,2,2].

    Returns:
        "iou" float64 [K], intersection over union, NaN for a class without pixels in truth and prediction; "miou" its
        mean over the others; "class_accuracies" [K], NaN for a class without true pixels, and "class_accuracy" its
        mean; "pixel_accuracy"; "frequency_weighted_iou", weighted by true pixels. All in [0, 1], NaN of nothing.
    """
    if matrix.ndim == 3:
        hits, true, found = matrix[:, 1, 1], matrix[:, 1].sum(axis=-1), matrix[:, :, 1].sum(axis=-1)
        right = np.trace(matrix, axis1=1, axis2=2).sum()
    else:
        hits, true, found = np.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
        right = hits.sum()
    iou, accuracies = _divided(hits, true + found - hits), _divided(hits, true)
    weights = _divided(true, true.sum())
    return {
        "iou": iou,
        "miou": _mean(iou),
        "class_accuracies": accuracies,
        "class_accuracy": _mean(accuracies),
        "pixel_accuracy": float(_divided(right, matrix.sum())),
        "frequency_weighted_iou": float(np.where(true > 0, iou * weights, 0.0).sum()) if true.any() else math.nan,
    }


def _divided(a: Any, b: Any) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.where(np.asarray(b) > 0, a / np.maximum(b, 1), np.nan)


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def pixel_metrics(sums: Sums, class_names: Sequence[str] = ()) -> dict[str, float]:
    """Compute the metrics of a row of the log from sums, as Python numbers.

    Args:
        sums: of `pixel_sums`, with `boundary_sums` or without.
        class_names: K names, for an "iou/NAME" of each class that is there.

    Returns:
        "loss" in nats, "miou", "pixel_accuracy", "class_accuracy", "frequency_weighted_iou", "num_examples", and
        with boundaries "boundary_f", the mean over the classes of their mean over images. What is a mean of nothing is
        not there; but "miou" is 1 where pixels count and none has a class, in truth and prediction: all are right. It
        is 0 where no pixel counts.
    """
    host = jax.device_get(sums)
    scores = scores_of_confusion(pixel_confusion(host))
    count = float(host["count"])
    row = {"loss": float(host["loss"]) / count}
    row |= {name: scores[name] for name in ("miou", "pixel_accuracy", "class_accuracy", "frequency_weighted_iou")}
    if "boundary_f" in host:
        row["boundary_f"] = _mean(_divided(host["boundary_f"].astype(np.float64), host["boundary_images"]))
    row |= {f"iou/{name}": float(iou) for name, iou in zip(class_names, scores["iou"], strict=False)}
    if math.isnan(row["miou"]):  # every row has a score, by which it is ranked and drawn
        row["miou"] = 0.0 if math.isnan(row["pixel_accuracy"]) else 1.0
    row = {name: value for name, value in row.items() if name == "loss" or not math.isnan(value)}
    return row | {"num_examples": round(count)}


def pixel_metrics_text(metrics: Mapping[str, float]) -> str:
    """Return the metrics that are there, and are not NaN, as text: "mean IoU 0.6399, pixel accuracy 0.9172, …"."""
    known = {name: metrics[name] for name in NAMES if not math.isnan(metrics.get(name, math.nan))}
    return ", ".join(f"{NAMES[name]} {value:.4f}" for name, value in known.items())
