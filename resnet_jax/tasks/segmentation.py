"""Segmentation: a class for every pixel, or for each of K classes whether a pixel has it."""

from collections.abc import Sequence
from functools import partial

import jax

from resnet_jax.runtime.batch import Batch
from resnet_jax.tasks.task import Task
from resnet_jax.training.metrics import Sums
from resnet_jax.training.pixel_losses import make_pixel_loss
from resnet_jax.training.pixel_metrics import boundary_sums, pixel_metrics, pixel_sums, zero_pixel_sums

AVERAGED = ("loss", "miou", "pixel_accuracy", "boundary_f")


def segmentation(class_names: Sequence[str], threshold: float | None = None) -> Task:
    """Return the task of masks.

    Args:
        class_names: K names.
        threshold: of the probability above which a pixel has a class, where classes may overlap; None: each pixel has
            one class.
    """
    binary = threshold is not None

    def eval_sums(logits: jax.Array, batch: Batch, loss: jax.Array) -> Sums:
        sums = pixel_sums(logits, batch, loss, threshold=threshold)
        return sums | boundary_sums(logits, batch, threshold=threshold)

    return Task(
        zero_sums=partial(zero_pixel_sums, len(class_names), binary=binary),
        train_sums=partial(pixel_sums, threshold=threshold),
        eval_sums=eval_sums,
        eval_loss=make_pixel_loss(binary=binary),
        metrics=partial(pixel_metrics, class_names=tuple(class_names)),
        averaged=AVERAGED,
        pixels=True,
    )
