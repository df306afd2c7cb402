"""Scores of pictures with masks: of each one, and of all together."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from resnet_jax.data.augment.resize import resize_mask, short_side_size
from resnet_jax.data.sources.mask_coding import MaskCoding
from resnet_jax.data.sources.masks import MaskSource
from resnet_jax.data.sources.source import pixels_of
from resnet_jax.runtime.memory import memory_remedy
from resnet_jax.tasks.task import Task
from resnet_jax.training.metrics import Sums, add_sums
from resnet_jax.training.pixel_metrics import pixel_confusion, scores_of_confusion

REMEDY = "evaluate it in tiles: python -m experiments.evaluate --tile=512"


class PictureScores(NamedTuple):
    """A picture's scores, as in `MaskPicture`."""

    miou: float
    accuracy: float


def score_pictures(
    source: MaskSource, labels_of: Callable[[np.ndarray], np.ndarray], task: Task, coding: MaskCoding, short: int
) -> tuple[Sums, list[PictureScores]]:
    """Score every picture of a set.

    Args:
        source: the pictures and masks.
        labels_of: picture -> its predicted labels, at the size of `short`.
        task: of the network.
        coding: of the masks.
        short: shorter side at which they are scored, as in the training; 0: their own.

    Returns:
        (sums over the set, scores of each picture).

    Raises:
        InputError: the memory does not suffice.
    """
    sums_of = jax.jit(lambda logits, batch: task.eval_sums(logits, batch, jnp.zeros(1)))
    total, each = None, []
    for example in map(source.__getitem__, range(len(source))):
        label, found = example.label, labels_of(pixels_of(example))
        if short:
            label = resize_mask(label, *short_side_size(label.shape[0], label.shape[1], short))
        batch = {"label": label[None].astype(np.int32), "mask": np.ones(1, np.float32)}
        with memory_remedy(lambda: REMEDY):
            sums = jax.device_get(sums_of(logits_of(found, coding), batch))
            total = sums if total is None else add_sums(total, sums)
        # Two numbers, and not the matrix: 20,000 of 150 classes would be gigabytes.
        scores = scores_of_confusion(pixel_confusion(sums))
        each.append(PictureScores(scores["miou"], scores["pixel_accuracy"]))
    assert total is not None  # a set without pictures is refused when it is opened
    return total, each


def logits_of(labels: np.ndarray, coding: MaskCoding) -> jax.Array:
    """Return logits [1,H,W,K] whose prediction the labels of a picture are."""
    if coding.binary:
        return jnp.where(labels[None] == 1, 10.0, -10.0)
    return jax.nn.one_hot(labels[None], len(coding.class_names))
