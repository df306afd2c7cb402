"""Steps that do not fit in memory: the largest batch that would; and requests that are not larger than what is due."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import jax
import jax.numpy as jnp

from resnet_jax.run import memory
from resnet_jax.run.memory import largest_batch
from resnet_jax.run.step import longest_chunk
from tests.run.test_train import TOY


def test_the_largest_batch_leaves_the_state_its_room(monkeypatch):
    """Activations of 80 bytes an example and a state of 400: 1000 bytes hold 7, of which 4 can be shared by 2 x 2."""
    analysis = SimpleNamespace(argument_size_in_bytes=400, temp_size_in_bytes=800)
    compiled = SimpleNamespace(memory_analysis=lambda: analysis)

    def lower(state, sums, batch):
        assert "skipped" not in batch  # messages are not arrays
        return SimpleNamespace(compile=lambda: compiled)

    step = cast(Any, SimpleNamespace(lower=lower))
    device = SimpleNamespace(memory_stats=lambda: {"bytes_limit": 1000})
    run = cast(Any, SimpleNamespace(config=replace(TOY, batch_size=10, accumulate=2)))
    monkeypatch.setattr(memory, "step_batches", lambda run, start: iter([(1, {"skipped": ["1.jpg: empty"]})]))
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    assert largest_batch(run, step, jnp.zeros(3), {}, 0) == 4
    device.memory_stats = lambda: None  # a CPU
    assert largest_batch(run, step, jnp.zeros(3), {}, 0) is None


def test_a_device_call_is_no_longer_than_what_is_due():
    def run(**options):
        config = replace(TOY, steps_per_call=10**9, **options)
        due = {"checkpoint_every": 7.5, "eval_every": 30, "total_steps": 100, "thaw_step": 0}
        return cast(Any, SimpleNamespace(config=config, **due))

    assert longest_chunk(run(log_every=50)) == 8
    assert longest_chunk(run(log_every=5)) == 5
    short = run(log_every=50)
    short.config = replace(short.config, steps_per_call=3)
    assert longest_chunk(short) == 3
