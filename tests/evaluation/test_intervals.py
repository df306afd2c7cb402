"""Intervals and paired tests, against their formulas."""

from math import comb, sqrt

import numpy as np
import pytest

from resnet_jax.evaluation.intervals import mcnemar, proportion

Z = 1.959963984540054  # 97.5 % of a normal distribution


def wilson(count, total):
    p = count / total
    middle = (p + Z**2 / (2 * total)) / (1 + Z**2 / total)
    half = Z / (1 + Z**2 / total) * sqrt(p * (1 - p) / total + Z**2 / (4 * total**2))
    return middle - half, middle + half


@pytest.mark.parametrize(("count", "total"), [(146, 153), (1, 2), (0, 7), (7, 7), (9_412, 10_000)])
def test_the_interval_is_wilsons(count, total):
    found = proportion(count, total)
    assert (found.low, found.high) == pytest.approx(wilson(count, total), abs=1e-12)
    assert (found.count, found.total, found.value) == (count, total, count / total)


def test_ten_of_ten_leave_room_below():
    assert proportion(10, 10).low == pytest.approx(10 / (10 + Z**2))
    assert proportion(10, 10).high == pytest.approx(1)


def test_one_against_eight_is_a_difference():
    first = np.array([True] * 1 + [False] * 8 + [True] * 20 + [False] * 3)
    second = np.array([False] * 1 + [True] * 8 + [True] * 20 + [False] * 3)
    found = mcnemar(first, second)
    assert (found.first_only, found.second_only) == (1, 8)
    assert found.p_value == pytest.approx(2 * (comb(9, 0) + comb(9, 1)) / 2**9)
    assert mcnemar(second, first).p_value == found.p_value


def test_equal_answers_are_no_difference():
    right = np.array([True, False, True])
    assert mcnemar(right, right).p_value == 1
