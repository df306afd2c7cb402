"""Curves and last errors from rows written by hand."""

import numpy as np
import pytest

from resnet_jax.analysis.error_curves import POINTS, error_curve, last_training_error
from resnet_jax.analysis.plots.error_curves import error_limit
from tests.studies.rows import eval_row, train_row


def test_a_curve_has_the_logged_errors_at_the_middle_of_their_steps():
    rows = [train_row(10, 80), train_row(20, 40), eval_row(20, 50), train_row(30, 20), eval_row(30, 25)]
    curve = error_curve(rows, "plain-20", 20, True)
    np.testing.assert_allclose(curve.train_steps, [5, 15, 25])
    np.testing.assert_allclose(curve.train_error, [80, 40, 20])
    np.testing.assert_allclose(curve.test_steps, [20, 30])
    np.testing.assert_allclose(curve.test_error, [50, 25])


def test_a_long_log_is_averaged_by_the_number_of_examples():
    rows = [
        train_row(step, 10 if step % 2 else 40, count=300 if step % 2 else 100) for step in range(1, 2 * POINTS + 1)
    ]
    curve = error_curve(rows, "", 20, True)
    np.testing.assert_allclose(curve.train_error, np.full(POINTS, (300 * 10 + 100 * 40) / 400))
    np.testing.assert_allclose(curve.train_steps[:2], [1, 3])
    assert error_curve(rows[:-1], "", 20, False).train_steps[-1] == pytest.approx((2 * POINTS - 2 + 2 * POINTS - 1) / 2)


def test_a_run_without_rows_has_empty_curves():
    curve = error_curve([], "", 20, False)
    assert [len(part) for part in (curve.train_steps, curve.train_error, curve.test_error)] == [0, 0, 0]
    assert last_training_error([]) is None


def test_the_last_training_error_is_that_of_the_last_epoch():
    rows = [train_row(step, error) for step, error in ((50, 90), (100, 60), (150, 30), (200, 20))]
    assert last_training_error([*rows, eval_row(200, 99)]) == pytest.approx(25)


def test_the_axis_of_errors_is_the_papers_where_that_is_enough():
    def panels(*ends):
        return {"plain": [error_curve([train_row(10, 90), train_row(20, end)], "", 20, True) for end in ends]}

    assert error_limit({}) == 20
    assert error_limit(panels(8, 19)) == 20
    assert error_limit(panels(8, 30)) == 40
    assert error_limit(panels(90)) == 100
