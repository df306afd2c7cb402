"""The task of a config: the loss and the sums of a batch, and the row of a log that they become."""

import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.config.options import Config
from resnet_jax.tasks.build import build_task


def row(config, names, logits, label, **options):
    """The row of a log over one evaluation batch."""
    task = build_task(config, names, **options)
    batch = {"label": np.asarray(label, np.int32), "mask": np.ones(len(label), np.float32)}
    loss = task.eval_loss(logits, batch)
    sums = task.eval_sums(logits, batch, loss)
    assert task.zero_sums().keys() <= sums.keys()
    found = task.metrics(sums)
    assert set(task.averaged) <= found.keys()
    return task, found


def test_images_have_one_label():
    logits = jnp.asarray([[2.0, 1, 0], [0, 1, 2], [3, 2, 1]])
    task, found = row(Config(dataset="cifar10"), ["a", "b", "c"], logits, [0, 1, 2])
    assert not task.pixels
    assert found["top1"] == pytest.approx(1 / 3)


def test_pixels_have_one_class():
    logits = jnp.zeros((1, 2, 2, 3)).at[..., 1].set(1.0)
    task, found = row(Config(dataset="masks"), ["a", "b", "c"], logits, [[[1, 1], [1, 0]]])
    assert task.pixels
    assert found["pixel_accuracy"] == pytest.approx(3 / 4)
    assert found["miou"] == pytest.approx((3 / 4 + 0) / 2)  # of the classes that truth or prediction has


def test_a_pixel_may_have_several_classes_by_the_threshold():
    logits = jnp.asarray([[[[0.5, -1.0], [-1.0, -1.0]]]])  # a has a probability of 0.62 in the first pixel
    label = [[[[1, 0], [0, 0]]]]
    _, found = row(Config(dataset="masks", threshold=0.6), ["a", "b"], logits, label, binary=True)
    assert found["miou"] == pytest.approx(1)
    _, found = row(Config(dataset="masks", threshold=0.7), ["a", "b"], logits, label, binary=True)
    assert found["miou"] == pytest.approx(0)
