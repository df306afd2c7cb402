"""The watchdog's limit, which grows with the longest time between two signs of life."""

from types import SimpleNamespace
from typing import Any

import pytest

from resnet_jax.runtime import watchdog

watch = watchdog._watch
MINUTE = 60.0


class Ended(Exception):
    pass


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    """A clock that the test sets, and no thread that watches."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(watchdog, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(watchdog, "_watch", lambda *arguments: None)

    def end(waited: float) -> None:
        raise Ended

    monkeypatch.setattr(watchdog, "_end", end)
    return clock


def is_ended(clock: SimpleNamespace, seconds: float, beating: float = 0) -> bool:
    """Return whether a run that beats for so long and then no more is ended within these seconds."""
    waited = 0.0

    def wait(pause: float) -> bool:
        nonlocal waited
        waited += pause
        clock.now += pause
        if waited <= beating:
            watchdog.beat()
        return waited > seconds

    done: Any = SimpleNamespace(wait=wait)
    try:
        watch(MINUTE, done)
    except Ended:
        return True
    return False


@pytest.mark.parametrize(
    ("beats", "allowed"),
    [
        ([], 180),  # before the first step: three times the limit
        ([20], 60),
        ([20, 5, 5], 60),
        ([50], 100),  # a compilation: twice its time
        ([20, 1, 400, 1, 1], 800),  # an evaluation, long ago
    ],
)
def test_the_limit_grows_with_the_longest_time_without_a_beat(clock, beats, allowed):
    with watchdog.watchdog(1):
        for seconds in beats:
            clock.now += seconds
            watchdog.beat()
        assert not is_ended(clock, allowed)
        assert is_ended(clock, allowed + 11)  # it looks each five seconds


def test_a_beat_begins_the_wait_anew(clock):
    with watchdog.watchdog(1):
        assert not is_ended(clock, 500, beating=450)
    with watchdog.watchdog(1):
        assert is_ended(clock, 500, beating=400)


def test_without_minutes_nothing_watches(clock):
    with watchdog.watchdog(0):
        watchdog.beat()
        assert not watchdog._beats
