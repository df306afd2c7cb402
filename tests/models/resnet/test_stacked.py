from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from resnet_jax import create_model, restore_run
from resnet_jax.errors import InterruptedRunError
from resnet_jax.models.resnet.scan import stack_scan_groups, unstack_scan_groups
from resnet_jax.optim.ema import Ema
from resnet_jax.optim.optimizers import make_optimizer
from resnet_jax.run.build import ELEMENTWISE, build_scan_groups
from resnet_jax.run.train import train
from resnet_jax.training.state import create_train_state
from resnet_jax.training.step import train_step
from tests.models.resnet.test_scan import FAST_TO_COMPILE
from tests.run.test_ingredients import interrupt_at
from tests.run.test_train import TOY

LOOPS = (("a_01", "a_02"), ("b_1", "b_2", "b_3"))
DEEP = replace(TOY, model="resnet20_cifar", steps=4, eval_every=4, checkpoint_every=2, log_every=1)


def test_stacking_takes_the_blocks_of_a_loop_together_and_back():
    names = ("stem", "a_01", "a_02", "b_1", "b_2", "b_3")
    tree = ({name: {"w": jnp.full(2, i), "s": {"v": jnp.full((), -i)}} for i, name in enumerate(names)}, jnp.ones(3))
    stacked = stack_scan_groups(tree, LOOPS)
    assert sorted(stacked[0]) == ["a_01_to_02", "b_1_to_3", "stem"]
    np.testing.assert_array_equal(stacked[0]["b_1_to_3"]["w"], [[3, 3], [4, 4], [5, 5]])
    np.testing.assert_array_equal(stacked[0]["a_01_to_02"]["s"]["v"], [-1, -2])
    back = unstack_scan_groups(stacked, LOOPS)
    assert jax.tree.structure(back) == jax.tree.structure(tree)
    jax.tree.map(np.testing.assert_array_equal, back, tree)
    assert jax.tree.structure(stack_scan_groups(tree, ())) == jax.tree.structure(tree)


@pytest.mark.slow
def test_steps_of_a_stacked_state_are_those_of_the_unrolled_network():
    # Decay of kernels alone, and an average: what could tell a stacked array from another.
    tx = make_optimizer("sgd", optax.constant_schedule(0.1), weight_decay=0.1, decay_norm_and_bias=False, clip_norm=1.0)
    plain: Any = create_model("resnet20_cifar", num_classes=5).clone(width=4, stage_sizes=(1, 3))
    state = create_train_state(plain, tx, 8, jax.random.key(0), with_ema=True)
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(8, 8, 8, 3)), jnp.float32)
    batch = {"image": images, "label": jnp.arange(8) % 5, "mask": jnp.ones(8)}

    def stepped(model, state):
        step = partial(train_step, model=model, tx=tx, key=jax.random.key(0), ema=Ema(decay=0.5))
        return jax.jit(step, compiler_options=FAST_TO_COMPILE)(state, batch)

    expected = stepped(plain, state)
    for remat in (False, True):
        looped = plain.clone(scan=True, remat=remat)
        loops = looped.scan_groups()
        assert [len(names) for names in loops] == [2]
        stacked, sums = stepped(looped, stack_scan_groups(state, loops))
        assert len(jax.tree.leaves(stacked)) < len(jax.tree.leaves(state))
        got = unstack_scan_groups(stacked, loops), sums
        assert jax.tree.structure(got) == jax.tree.structure(expected)
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * max(1.0, float(jnp.abs(b).max())))


def test_the_program_of_a_step_is_as_long_for_every_depth():
    def lines(depth):
        model: Any = create_model(f"resnet{depth}_cifar", width=4, scan=True)
        tx = make_optimizer("sgd", optax.constant_schedule(0.1), weight_decay=0.1)
        state = jax.eval_shape(
            lambda: stack_scan_groups(create_train_state(model, tx, 8, jax.random.key(0)), model.scan_groups())
        )
        batch = {"image": jnp.ones((2, 8, 8, 3)), "label": jnp.zeros(2, jnp.int32), "mask": jnp.ones(2)}
        step = partial(train_step, model=model, tx=tx, key=jax.random.key(0))
        return jax.jit(step).lower(state, batch).as_text().count("\n")

    assert lines(32) == lines(20)


def test_only_optimizers_that_treat_every_value_alike_are_given_stacked_arrays():
    model = create_model("resnet20_cifar", scan=True)
    scanned = replace(DEEP, scan=True)
    assert build_scan_groups(model, scanned) == model.scan_groups()
    for other in (
        replace(scanned, optimizer="lamb"),
        replace(scanned, optimizer="muon"),
        replace(scanned, adaptive_clip=0.1),
        replace(scanned, layer_decay=0.9),
    ):
        assert build_scan_groups(model, other) == ()
    assert build_scan_groups(create_model("resnet20_cifar"), DEEP) == ()


@pytest.mark.slow
def test_a_scanned_run_stores_the_blocks_one_by_one_and_continues_bit_for_bit(tmp_path, monkeypatch):
    config = replace(DEEP, scan=True, ema=0.9)
    whole = train(replace(config, workdir=str(tmp_path / "whole")))
    half = replace(config, workdir=str(tmp_path / "half"))
    with monkeypatch.context() as patched:
        interrupt_at(patched, 2)
        with pytest.raises(InterruptedRunError, match="after step 2"):
            train(half)
    continued = train(half)
    assert continued["fingerprint"] == whole["fingerprint"]
    restored: Any = restore_run(half.workdir)
    _, model, variables = restored
    unrolled: Any = create_model("resnet20_cifar", num_classes=10, width=2)
    shapes = jax.eval_shape(unrolled.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    assert jax.tree.structure(variables) == jax.tree.structure(shapes)
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(model.apply(variables, images), unrolled.apply(variables, images), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ELEMENTWISE)
def test_an_optimizer_moves_stacked_arrays_as_it_moves_each(kind):
    model: Any = create_model("resnet20_cifar", num_classes=5, width=4, scan=True)
    stack = partial(stack_scan_groups, groups=model.scan_groups())
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))["params"]
    rng = np.random.default_rng(0)
    params, gradients = (
        jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), shapes) for _ in range(2)
    )
    schedule = optax.constant_schedule(0.1)
    tx = make_optimizer(kind, schedule, weight_decay=0.1, decay_norm_and_bias=False, clip_norm=1.0, norm_bias_rate=4.0)

    @jax.jit
    def moved(params, gradients):
        state = tx.init(params)
        for _ in range(2):
            updates, state = tx.update(gradients, state, params)
            params = optax.apply_updates(params, updates)
        return params, state

    expected, got = stack(moved(params, gradients)), moved(stack(params), stack(gradients))
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), got, expected)
