"""Calibration, against a hand-worked example and a plain loop."""

import numpy as np
import pytest

from resnet_jax.evaluation.calibration import BINS, calibration


def test_a_hand_worked_example():
    # Bins of a fifteenth: 0.95 and 0.97 share the last (14/15, 1]; 0.55 is in (8/15, 9/15].
    found = calibration(np.array([0.95, 0.97, 0.55, 0.55]), np.array([True, False, True, True]))
    assert found.counts.tolist() == [0] * 8 + [2] + [0] * 5 + [2]
    assert found.accuracy[[8, 14]].tolist() == [1.0, 0.5]
    assert found.error == pytest.approx((2 * (1 - 0.55) + 2 * (0.96 - 0.5)) / 4)
    assert found.mean_confidence == pytest.approx(0.755)


def test_the_upper_edge_belongs_to_a_bin():
    found = calibration(np.array([1 / 15, 1.0, 1 / 3]), np.array([True, True, True]))
    assert np.flatnonzero(found.counts).tolist() == [0, 4, 14]


def test_a_plain_loop_agrees():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.1, 1, 500).astype(np.float32)
    right = rng.uniform(size=500) < confidence
    error = 0.0
    for k in range(BINS):
        inside = [i for i in range(500) if k / BINS < confidence[i] <= (k + 1) / BINS]
        if inside:
            error += abs(np.mean(right[inside]) - np.mean(confidence[inside], dtype=np.float64)) * len(inside) / 500
    assert calibration(confidence, right).error == pytest.approx(error)
