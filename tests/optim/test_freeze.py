"""Frozen parameters: what a pattern matches, and that the optimizer leaves it alone."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from resnet_jax.errors import InputError
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
    with pytest.raises(InputError, match=r"--freeze=stem\.\.neck: 'neck' is no layer; take stem, stage1"):
        frozen_by("stem..neck")


def tree():
    return {
        module: {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)} for module in ("stem_conv", "stage1_block01", "head")
    }


def test_what_freezes_nothing_or_everything_is_refused():
    check_freeze("stem..stage1", tree())
    check_freeze("", tree())
    with pytest.raises(
        InputError, match="--freeze=layer4 matches no parameter; the network has head, stage1_block01, stem_conv"
    ):
        check_freeze("layer4", tree())
    with pytest.raises(InputError, match="leaves nothing that learns"):
        check_freeze("*", tree())


def test_the_optimizer_has_no_state_and_no_decay_for_what_is_frozen():
    inner = optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.5, momentum=0.9))
    tx, params = leave_frozen(inner, frozen_by("stem..stage1")), tree()
    state = tx.init(params)
    assert sum(leaf.size for leaf in jax.tree.leaves(state)) == 6  # the head's kernel and bias
    updates, _ = tx.update(jax.tree.map(jnp.ones_like, params), state, params)
    moved: Any = optax.apply_updates(params, updates)
    np.testing.assert_array_equal(moved["stage1_block01"]["kernel"], params["stage1_block01"]["kernel"])
    np.testing.assert_allclose(moved["head"]["kernel"], 1 - 0.5 * 1.1, rtol=1e-6)
