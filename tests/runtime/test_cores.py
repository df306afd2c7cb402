"""Cores that a process may use, and the worker processes that are started for them."""

import os

import pytest

from resnet_jax.data.loader import worker_count
from resnet_jax.runtime.cores import usable_cores


@pytest.mark.parametrize(("allowed", "workers"), [({5}, 1), ({0, 1, 6, 7}, 3), (set(range(40)), 16)])
def test_cores_of_others_get_no_workers(allowed, workers, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: allowed, raising=False)
    assert usable_cores() == len(allowed)
    assert worker_count(-1) == workers
    assert worker_count(7) == 7


def test_all_cores_count_where_a_system_knows_no_affinity(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert worker_count(-1) == 5
