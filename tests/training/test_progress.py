"""The share of its time that a training waits for data: near 1 with a slow source, near 0 with a fast one."""

import time
from itertools import repeat

import pytest

from resnet_jax.training.progress import Progress


def slow_batches(count, seconds):
    for step in range(count):
        time.sleep(seconds)
        yield step


class Computed:
    """An array that a device computes, beside the host and after what it was given before."""

    end = 0.0

    def __init__(self, seconds):
        Computed.end = self.end = max(Computed.end, time.perf_counter()) + seconds

    def block_until_ready(self):
        time.sleep(max(0.0, self.end - time.perf_counter()))


def waiting_beside_a_device(batch_seconds, step_seconds, steps=12):
    """What a loop logs that keeps two steps in flight."""
    progress = Progress(0, steps, quiet=True)
    fed, in_flight = progress.waits(slow_batches(steps, batch_seconds)), []
    for step in range(steps):
        next(fed)
        in_flight.append(Computed(step_seconds))
        progress.tick(step, in_flight[-1])
        if len(in_flight) > 2:
            in_flight.pop(0).block_until_ready()
    return progress.waiting()


def waiting(batches, step_seconds, steps=10):
    """What a loop logs whose steps take so long."""
    progress = Progress(0, steps, quiet=True)
    fed = progress.waits(batches)
    for _ in range(steps):
        next(fed)
        time.sleep(step_seconds)
    return progress.waiting()


def test_a_slow_source_is_seen_and_a_fast_one_too():
    assert waiting(slow_batches(10, 0.03), 0) > 0.9
    assert waiting(repeat(None), 0.03) < 0.1
    assert waiting(slow_batches(10, 0.03), 0.03) == pytest.approx(0.5, abs=0.15)


def test_while_the_device_works_nobody_waits():
    assert waiting_beside_a_device(0.03, 0.06) < 0.15  # the first batch alone
    assert waiting_beside_a_device(0.06, 0.03) == pytest.approx(0.5, abs=0.15)
    assert waiting_beside_a_device(0.06, 0.001) > 0.85


def test_every_share_is_of_the_time_since_the_last_one_without_pauses():
    progress = Progress(0, 4, quiet=True)
    fed = progress.waits(slow_batches(4, 0.03))
    next(fed)
    assert progress.waiting() > 0.9
    time.sleep(0.03)
    assert progress.waiting() == 0
    with progress.paused():
        time.sleep(0.1)
    next(fed)
    assert progress.waiting() > 0.9


def test_batches_pass_as_they_are_until_they_end():
    assert list(Progress(0, 3, quiet=True).waits(iter("abc"))) == ["a", "b", "c"]
