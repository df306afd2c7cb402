import jax
import numpy as np
import pytest
from scipy.stats import kendalltau

from resnet_jax.analysis.permutations import error_by_swaps, kendall_tau, reordered
from resnet_jax.errors import InputError

from .toys import random_examples, random_variables, toy, undecided_variables


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 2, 4, 3], [2, 0, 3, 1]])
def test_kendalls_tau_is_scipys(order):
    assert kendall_tau(order) == pytest.approx(kendalltau(range(len(order)), order).statistic)


def test_reordered_blocks_take_parameters_and_statistics_with_them():
    variables = random_variables(toy(stage_sizes=(3,)))
    a, b, c = (f"stage1_block0{i}" for i in (1, 2, 3))
    new = reordered(variables, {a: b, b: c, c: a})
    for kind in ("params", "batch_stats"):
        for place, block in ((a, b), (b, c), (c, a)):
            np.testing.assert_equal(new[kind][place], variables[kind][block])
        assert new[kind]["stem_norm"] is not None
        np.testing.assert_equal(new[kind]["stem_norm"], variables[kind]["stem_norm"])


def test_errors_are_those_of_networks_with_two_blocks_exchanged():
    model = toy(stage_sizes=(1, 3))  # stage 1 has no pair, and of stage 2 the first block stays
    images, labels = random_examples(40)
    variables = undecided_variables(model, images)
    found = error_by_swaps(model, variables, images, labels, swaps=[0, 1, 2], samples=1, batch_size=16)
    b, c = "stage2_block02", "stage2_block03"
    apply = jax.jit(model.apply)
    logits = [apply(v, images) for v in (variables, reordered(variables, {b: c, c: b}), variables)]
    errors = [np.mean(np.asarray(x).argmax(axis=-1) != labels) for x in logits]
    np.testing.assert_array_equal(found.error[:, 0], errors)
    assert errors[0] != errors[1]
    # One of the six pairs of four blocks is out of order.
    np.testing.assert_allclose(found.kendall_tau[:, 0], [1, 1 - 2 / 6, 1])


def test_a_network_without_two_equal_blocks_is_refused():
    model = toy(stage_sizes=(1, 2))
    with pytest.raises(InputError, match="no stage has two blocks"):
        error_by_swaps(model, random_variables(model), *random_examples(2), swaps=[1])
