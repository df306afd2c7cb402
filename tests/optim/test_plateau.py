"""Rates that fall where the training loss does not."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

from resnet_jax.config.options import Config
from resnet_jax.errors import InputError
from resnet_jax.optim.build import build_optimizer
from resnet_jax.optim.plateau import plateau_scale

PLATEAU = replace(
    Config(), schedule="plateau", plateau_patience=2, learning_rate=0.5, reference_batch_size=0, momentum=0.0
)


def rates(losses: Sequence[float], num_train: int, **options: Any) -> list[float]:
    """The rate of each step, by its update of a parameter whose gradient is 1."""
    config = replace(PLATEAU, batch_size=1, epochs=10.0, weight_decay=0.0, **options)
    optimizer = build_optimizer(config, num_train)
    params = {"kernel": jnp.ones(1)}
    state = optimizer.tx.init(params)
    update = optax.with_extra_args_support(optimizer.tx).update
    found = []
    for step, loss in enumerate(losses):
        updates, state = update({"kernel": jnp.ones(1)}, state, params, value=jnp.float32(loss))
        moved: Any = updates
        found.append(-float(moved["kernel"][0]))
        assert found[-1] == pytest.approx(float(optimizer.rate(step, state)))
    return found


def test_the_rate_falls_after_so_many_epochs_without_a_lower_loss():
    assert rates([3, 2, 2, 2.1, 1, 1, 1, 1], 1) == pytest.approx([0.5, 0.5, 0.5, 0.05, 0.05, 0.05, 0.005, 0.005])


def test_the_losses_of_an_epoch_are_averaged():
    # Epochs of two steps, means of 2, 1.5, 2 and 1.5: the fourth is the second in a row that is not lower.
    losses = [1, 3, 2, 1, 3, 1, 1, 2, 1, 2]
    assert rates(losses, 2) == pytest.approx([0.5] * 7 + [0.05] * 3)


def test_a_factor_of_ones_own():
    assert rates([1, 1, 1], 1, milestone_factor=0.5, plateau_patience=1) == pytest.approx([0.5, 0.25, 0.125])


def test_the_state_is_finite_from_the_first_step():
    # Infinity as the lowest loss would end a run at its first step as one that diverged, where an epoch has several.
    optimizer = build_optimizer(PLATEAU, 1000)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(optimizer.tx.init({"kernel": jnp.ones(1)})))


def test_an_optimizer_whose_momentum_holds_the_rate_is_refused():
    with pytest.raises(InputError, match="--schedule=plateau goes with --optimizer=sgd, adamw, lamb, not with lars"):
        build_optimizer(replace(PLATEAU, optimizer="lars"), 100)


def test_other_schedules_have_no_factor():
    optimizer = build_optimizer(replace(Config(), schedule="cosine"), 100)
    assert plateau_scale(optimizer.tx.init({"kernel": jnp.ones(1)})) == 1


@pytest.mark.parametrize("factor", [0.0, 1.0, 1.5])
def test_a_factor_that_is_none_is_one_line(factor):
    config = Config(schedule="plateau", milestone_factor=factor)
    with pytest.raises(
        InputError, match=rf"--milestone_factor={factor}: with --schedule=plateau it is between 0 and 1"
    ):
        build_optimizer(config, 100)
