"""Repeated augmentation shows what timm's sampler, which is also torchvision's and DeiT's, shows."""

from collections import Counter

import numpy as np
import pytest

from resnet_jax.data.order import Order

from .originals import torch

RepeatAugSampler = pytest.importorskip(
    "timm.data.distributed_sampler", reason="the original is timm's"
).RepeatAugSampler


@pytest.mark.parametrize(("n", "repeats", "replicas"), [(24, 3, 4), (48, 4, 2), (50, 3, 2), (30, 2, 3)])
def test_an_epoch_shows_as_many_examples_as_often(n, repeats, replicas):
    samplers = [
        RepeatAugSampler(torch.arange(n), replicas, rank, num_repeats=repeats, selected_round=0)
        for rank in range(replicas)
    ]
    theirs = Counter(int(index) for sampler in samplers for index in sampler)
    _, index, _ = Order(0, n, n, repeats).rows(0)
    ours = Counter(index.tolist())
    assert sum(theirs.values()) == sum(ours.values()) == n
    assert sorted(theirs.values()) == sorted(ours.values())


def test_in_a_known_order_the_same_examples_come_in_the_same_stretches():
    """With the order unshuffled, and ours looked up in its own permutation."""
    n, repeats, batch_size = 48, 3, 12
    theirs = list(RepeatAugSampler(torch.arange(n), 1, 0, shuffle=False, num_repeats=repeats, selected_round=0))
    place = {int(index): k for k, index in enumerate(np.random.default_rng((0, 0)).permutation(n))}
    for step in range(n // batch_size):
        _, index, _ = Order(0, n, batch_size, repeats).rows(step)
        stretch = theirs[step * batch_size : (step + 1) * batch_size]
        assert sorted(place[i] for i in index.tolist()) == sorted(int(i) for i in stretch)
