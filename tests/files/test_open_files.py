"""Room for open files: as much as is needed, at most what is allowed, and one line where that is too little."""

import resource

import pytest

from resnet_jax.errors import InputError
from resnet_jax.files.open_files import SPARE, make_room

UNLIMITED = resource.RLIM_INFINITY


@pytest.fixture
def limits(monkeypatch):
    """This process's limits, [soft, hard], as the function sees and sets them."""
    now = [1024, 4096]
    monkeypatch.setattr(resource, "getrlimit", lambda kind: tuple(now))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, wanted: now.__setitem__(slice(None), wanted))
    return now


def test_each_set_adds_its_shards_to_the_soft_limit(limits):
    make_room(1000, "train")
    make_room(50, "val")
    assert limits == [2074, 4096]
    make_room(4096 - SPARE, "train")
    assert limits == [4096, 4096]


@pytest.mark.parametrize(("soft", "hard", "then"), [(1024, UNLIMITED, 9024), (UNLIMITED, UNLIMITED, UNLIMITED)])
def test_no_limit_is_no_number(limits, soft, hard, then):
    limits[:] = soft, hard
    make_room(8000, "train")
    assert limits == [then, hard]


def test_a_hard_limit_that_is_too_low_is_one_line(limits):
    with pytest.raises(InputError, match=r"^DIR train has 4,033 shards, .* may open 4,096 files .*ulimit -n 4097 \("):
        make_room(4096 - SPARE + 1, "DIR train")
    assert limits == [1024, 4096]
