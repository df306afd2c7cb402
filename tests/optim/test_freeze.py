"""Frozen parameters: what a pattern matches, and that the optimizer leaves it alone."""

from dataclasses import replace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from resnet_jax.config.options import Config
from resnet_jax.errors import InputError
from resnet_jax.optim.build import build_optimizer, build_tx
from resnet_jax.optim.freeze import check_freeze, frozen_by, leave_frozen

PATHS = (
    "stem_conv/kernel",
    "stage1_block01/conv1/kernel",
    "stage1_block02/norm2/bias",
    "stage2_block01/conv1/kernel",
    "stage3_block10/norm1/scale",
    "head/kernel",
)


@pytest.mark.parametrize(
    ("pattern", "frozen"),
    [
        ("", []),
        ("stem", []),  # the module is stem_conv
        ("stem*", [0]),
        ("stem..stem", [0]),
        ("stem..stage1", [0, 1, 2]),
        ("stage1..stage1_block01", [1]),
        ("stage1_block02..stage2", [2, 3]),
        ("stem..stage4", [0, 1, 2, 3, 4]),
        ("*/norm?", [2, 4]),
        ("stage3_*,head", [4, 5]),
        ("*/bias, stem..stem", [0, 2]),
    ],
)
def test_a_pattern_freezes_ranges_of_layers_modules_and_leaves(pattern, frozen):
    is_frozen = frozen_by(pattern)
    assert [number for number, path in enumerate(PATHS) if is_frozen(path)] == frozen


def test_a_range_of_no_layers_is_refused():
    with pytest.raises(InputError, match=r"--freeze=stem\.\.neck: 'neck' is not a layer; take stem, stage1"):
        frozen_by("stem..neck")


def tree():
    return {
        module: {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)} for module in ("stem_conv", "stage1_block01", "head")
    }


def test_what_freezes_nothing_or_everything_is_refused():
    check_freeze("stem..stage1", tree())
    check_freeze("stem..stage4", tree())  # the backbone, of however many stages
    check_freeze("", tree())
    with pytest.raises(
        InputError, match="--freeze=layer4 matches no parameter; the network has head, stage1_block01, stem_conv"
    ):
        check_freeze("layer4", tree())
    for other in ("stem..stage1,stage2", "stage2..stage4", "stage1..stem", "stem_conv,stage1"):
        with pytest.raises(InputError, match="matches no parameter"):
            check_freeze(other, tree())
    with pytest.raises(InputError, match="leaves nothing that learns"):
        check_freeze("*", tree())


def test_what_thaws_rests_and_then_learns_as_from_a_first_step():
    def inner(shift: int) -> optax.GradientTransformation:
        return optax.chain(optax.add_decayed_weights(0.1), optax.sgd(lambda step: 0.1 * (step + shift), momentum=0.9))

    tx, params = leave_frozen(inner(0), frozen_by("stem..stage1"), thawed=inner(2), after=2), tree()
    alone, kernel = inner(2), {"kernel": params["stage1_block01"]["kernel"]}
    state, alone_state = tx.init(params), alone.init(kernel)
    for step in range(5):
        updates, state = tx.update(jax.tree.map(jnp.ones_like, params), state, params)
        moved: Any = updates
        expected: Any = {"kernel": jnp.zeros((2, 2))}
        if step >= 2:
            expected, alone_state = alone.update(jax.tree.map(jnp.ones_like, kernel), alone_state, kernel)
        np.testing.assert_allclose(moved["stage1_block01"]["kernel"], expected["kernel"], rtol=1e-6)
        assert moved["head"]["kernel"].any() == (step > 0)


def test_the_decay_of_the_rate_counts_all_layers_in_each_part():
    config = replace(Config(), freeze="stem..stem", unfreeze_at=0.5, epochs=1.0, schedule="constant", layer_decay=0.5)
    config = replace(config, batch_size=1, reference_batch_size=0, learning_rate=1.0, momentum=0.0, weight_decay=0.0)
    tx, params = build_optimizer(config, 4).tx, tree()
    state = tx.init(params)
    for _ in range(3):
        updates, state = tx.update(jax.tree.map(jnp.ones_like, params), state, params)
    rates = {name: -float(leaves["bias"][0]) for name, leaves in cast(Any, updates).items()}
    assert rates == {"stem_conv": 0.25, "stage1_block01": 0.5, "head": 1.0}


def test_a_stem_that_thaws_is_frozen_again_at_its_part_of_the_whole_training():
    config = Config(freeze="stem", unfreeze_at=1.0, stem_fraction=0.5, momentum=0.0, weight_decay=0.0)
    tx = build_tx(config, lambda step: 1.0, 8, thaw=2)
    params: Any = {"stem": jnp.ones(1), "head": jnp.ones(1)}
    state, learns = tx.init(params), []
    for _ in range(8):
        updates, state = tx.update(params, state, params)
        learns.append(bool(cast(Any, updates)["stem"].any()))
    assert learns == [False, False, True, True, False, False, False, False]


@pytest.mark.parametrize("epoch", [0.1, 1.0, 7.0])
def test_an_epoch_outside_the_training_is_refused(epoch):
    config = replace(Config(), freeze="stem..stem", unfreeze_at=epoch, epochs=1.0, batch_size=1)
    with pytest.raises(InputError, match=r"--unfreeze_at=[\d.]+ is step \d+ of 4; name an epoch within the training"):
        build_optimizer(config, 4)


def test_the_optimizer_has_no_state_and_no_decay_for_what_is_frozen():
    inner = optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.5, momentum=0.9))
    tx, params = leave_frozen(inner, frozen_by("stem..stage1")), tree()
    state = tx.init(params)
    assert sum(leaf.size for leaf in jax.tree.leaves(state)) == 6  # the head's kernel and bias
    updates, _ = tx.update(jax.tree.map(jnp.ones_like, params), state, params)
    moved: Any = optax.apply_updates(params, updates)
    np.testing.assert_array_equal(moved["stage1_block01"]["kernel"], params["stage1_block01"]["kernel"])
    np.testing.assert_allclose(moved["head"]["kernel"], 1 - 0.5 * 1.1, rtol=1e-6)


def test_the_norm_of_all_gradients_is_clipped_in_both_phases():
    config = Config(freeze="stem", unfreeze_at=1.0, clip_norm=1.0, momentum=0.0, learning_rate=1.0)
    tx = build_tx(config, lambda step: 1.0, 4, thaw=1)
    params: Any = {"stem": jnp.zeros(1), "head": jnp.zeros(1)}
    gradients: Any = {"stem": jnp.array([30.0]), "head": jnp.array([40.0])}
    _, state = tx.update(gradients, tx.init(params), params)  # in which the stem rests
    updates: Any = tx.update(gradients, state, params)[0]
    assert float(updates["stem"][0]) == pytest.approx(-0.6)
    assert float(updates["head"][0]) == pytest.approx(-0.8)
