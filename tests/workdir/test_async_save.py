"""Saves in the background: of what was, in order, and heard of when they fail."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.runtime.sharding import data_mesh, replicated, sharded
from resnet_jax.workdir import async_save
from resnet_jax.workdir.async_save import save_in_background


def test_what_is_saved_is_what_was_though_the_arrays_are_donated():
    gate, saved = threading.Event(), []

    def store(step, tree):
        gate.wait(10)
        saved.append((step, np.asarray(tree["w"])))

    double = jax.jit(lambda tree: jax.tree.map(lambda w: 2 * w, tree), donate_argnums=0)
    tree = {"w": jnp.arange(4.0)}
    with save_in_background(store) as save:
        save(1, tree)
        tree = double(tree)
        assert not saved  # the training went on
        gate.set()
        save(2, tree)
        tree = double(tree)
    assert [step for step, _ in saved] == [1, 2]
    np.testing.assert_array_equal(saved[0][1], [0, 1, 2, 3])
    np.testing.assert_array_equal(saved[1][1], [0, 2, 4, 6])


def failing(step, tree):
    raise OSError(f"no space for {step}")


def test_a_failure_is_raised_by_the_next_save():
    with save_in_background(failing) as save:
        save(1, jnp.zeros(1))
        with pytest.raises(OSError, match="no space for 1"):
            save(2, jnp.zeros(1))


def test_a_failure_is_raised_at_the_end():
    with pytest.raises(OSError, match="no space for 1"), save_in_background(failing) as save:
        save(1, jnp.zeros(1))


def test_another_error_waits_for_the_save_and_is_what_is_raised():
    saved = []

    def diverge():
        with save_in_background(lambda step, tree: saved.append(step)) as save:
            save(1, jnp.zeros(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        diverge()
    assert saved == [1]


def test_what_lies_divided_is_saved_at_once():
    divided = jax.device_put(jnp.zeros(8), sharded(data_mesh()))
    with save_in_background(failing) as save, pytest.raises(OSError, match="no space for 1"):
        save(1, divided)


def test_what_lies_on_several_cpu_devices_is_saved_at_once():
    """In a thread its programs would meet the training step's all-reduce, which then ends the process."""
    on_all = jax.device_put(jnp.zeros(8), replicated(data_mesh()))
    assert on_all.is_fully_replicated
    with save_in_background(failing) as save, pytest.raises(OSError, match="no space for 1"):
        save(1, on_all)


def test_where_there_is_no_room_for_a_copy_it_is_saved_at_once(monkeypatch):
    def copied(tree):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(async_save, "_copy", copied)
    with save_in_background(failing) as save, pytest.raises(OSError, match="no space for 1"):
        save(1, jnp.zeros(1))


def test_several_processes_save_at_once(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with save_in_background(failing) as save, pytest.raises(OSError, match="no space for 1"):
        save(1, jnp.zeros(1))
