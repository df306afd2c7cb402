from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

from resnet_jax.analysis.lesions import (
    apply_without,
    error_by_number_removed,
    error_by_removed_block,
    errors_without,
    removable_blocks,
)
from resnet_jax.errors import InputError
from resnet_jax.models.highway import Highway
from resnet_jax.models.resnet.blocks import BasicBlock, Bottleneck, PreActBasicBlock

from .toys import random_examples, random_variables, toy, undecided_variables

SECOND = "stage1_block02"


def renamed(tree: Any) -> Any:
    """Variables without the second block of stage 1; the third takes its name."""
    kept = {name: leaf for name, leaf in tree.items() if name not in (SECOND, "stage1_block03")}
    return {**kept, SECOND: tree["stage1_block03"]}


@pytest.mark.parametrize(
    ("block", "options"),
    [
        (BasicBlock, {"shortcut": "A"}),
        (BasicBlock, {"shortcut": "B", "attention": "se"}),
        (Bottleneck, {"shortcut": "B"}),
        (PreActBasicBlock, {"preact": True}),
        (BasicBlock, {"shortcut": "none"}),
    ],
)
def test_a_network_without_a_block_is_the_network_with_one_block_fewer(block, options):
    whole, shorter = toy(block, (3, 1), **options), toy(block, (2, 1), **options)
    variables, (images, _) = random_variables(whole), random_examples(3)
    expected = jax.jit(shorter.apply)({kind: renamed(tree) for kind, tree in variables.items()}, images)
    lesioned = jax.jit(lambda gone: apply_without(whole, variables, images, {SECOND: gone}))
    np.testing.assert_allclose(lesioned(True), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(lesioned(False), jax.jit(whole.apply)(variables, images), rtol=1e-5, atol=1e-5)
    assert np.abs(lesioned(True) - lesioned(False)).max() > 0.01


def test_a_highway_block_that_is_gone_carries():
    model: Any = Highway((2,), (4,), num_classes=3)
    variables, (images, _) = random_variables(model), random_examples(2)
    closed = jax.tree.map(np.copy, variables)
    closed["params"][SECOND]["gate"]["bias"] -= 1e4
    expected = jax.jit(model.apply)(closed, images)
    lesioned = jax.jit(partial(apply_without, model))(variables, images, {SECOND: True})
    np.testing.assert_allclose(lesioned, expected, rtol=1e-5)


def test_a_changed_shape_needs_a_shortcut():
    images, labels = random_examples(2)
    residual, plain = toy(), toy(shortcut="none")
    everything = ("stage1_block01", SECOND, "stage2_block01", "stage2_block02")
    assert removable_blocks(residual, random_variables(residual), images) == everything
    assert removable_blocks(plain, random_variables(plain), images) == (*everything[:2], everything[3])
    for choice in ("stage2_block01", "stage9_block01"):
        with pytest.raises(InputError, match=f"{choice}: no such block, or one that changes the shape"):
            errors_without(plain, random_variables(plain), images, labels, [(choice,)])


def test_errors_are_those_of_the_lesioned_networks():
    model, (images, labels) = toy(), random_examples(40)
    variables = undecided_variables(model, images)
    found = error_by_removed_block(model, variables, images, labels, batch_size=16)
    names = removable_blocks(model, variables, images)
    assert list(found) == ["", *names]
    lesioned = jax.jit(partial(apply_without, model))
    for name, error in found.items():
        logits = lesioned(variables, images, {n: n == name for n in names})
        assert error == np.mean(np.asarray(logits).argmax(axis=-1) != labels)
    assert len(set(found.values())) > 1


def test_several_blocks_are_drawn_from_those_that_keep_their_shape():
    model, (images, labels) = toy(), random_examples(40)
    variables = undecided_variables(model, images)
    found = error_by_number_removed(model, variables, images, labels, numbers=[0, 3], samples=2)
    intact, without = errors_without(
        model, variables, images, labels, [(), ("stage1_block01", SECOND, "stage2_block02")]
    )
    np.testing.assert_array_equal(found, [[intact] * 2, [without] * 2])
    with pytest.raises(InputError, match="numbers=4: ResNet has 3 blocks"):
        error_by_number_removed(model, variables, images, labels, numbers=[4])
