"""Schedules at points computed by hand."""

import numpy as np
import pytest

from resnet_jax.optim.schedules import make_schedule


@pytest.mark.parametrize(
    ("options", "points"),
    [
        # A tenth of the rate from half of the training on, a hundredth from three quarters on.
        (
            {"kind": "step", "peak": 0.8, "total_steps": 100, "milestones": (0.5, 0.75), "factor": 0.1},
            {0: 0.8, 49: 0.8, 50: 0.08, 74: 0.08, 75: 0.008, 99: 0.008, 200: 0.008},
        ),
        # Milestones count from the start of the training, warm-up included.
        (
            {"kind": "step", "peak": 0.8, "total_steps": 100, "milestones": (0.5, 0.75), "warmup_steps": 20},
            {0: 0.0, 5: 0.2, 20: 0.8, 49: 0.8, 50: 0.08, 74: 0.08, 75: 0.008},
        ),
        # He et al. 2015, section 4.2: 110 layers start at 0.01 and go back to 0.1.
        (
            {
                "kind": "step",
                "peak": 0.1,
                "total_steps": 640,
                "milestones": (0.5, 0.75),
                "warmup_steps": 4,
                "warmup_start": 0.01,
                "warmup": "constant",
            },
            {0: 0.01, 3: 0.01, 4: 0.1, 319: 0.1, 320: 0.01, 480: 0.001},
        ),
        # Half a cosine: at a third of the way down, (1 + cos(pi / 3)) / 2 = 0.75 of it.
        (
            {"kind": "cosine", "peak": 0.4, "total_steps": 90, "final": 0.1},
            {0: 0.4, 30: 0.1 + 0.3 * 0.75, 45: 0.25, 60: 0.1 + 0.3 * 0.25, 90: 0.1, 500: 0.1},
        ),
        (
            {"kind": "cosine", "peak": 0.4, "total_steps": 100, "warmup_steps": 10, "warmup_start": 0.2},
            {0: 0.2, 5: 0.3, 10: 0.4, 40: 0.3, 55: 0.2, 70: 0.1, 100: 0.0},
        ),
        # One cycle: up to a fifth of the training, down to its end.
        (
            {"kind": "linear", "peak": 0.5, "total_steps": 100, "warmup_steps": 20, "final": 0.1},
            {0: 0.0, 10: 0.25, 20: 0.5, 40: 0.4, 60: 0.3, 100: 0.1, 150: 0.1},
        ),
        # Zagoruyko and Komodakis 2016: a fifth at 60, 120 and 160 of 200 epochs.
        (
            {"kind": "step", "peak": 0.1, "total_steps": 200, "milestones": (0.3, 0.6, 0.8), "factor": 0.2},
            {0: 0.1, 59: 0.1, 60: 0.02, 119: 0.02, 120: 0.004, 159: 0.004, 160: 0.0008, 199: 0.0008},
        ),
        # Wightman et al. 2021: a cosine to 1e-6.
        (
            {
                "kind": "cosine",
                "peak": 5e-3,
                "total_steps": 600,
                "warmup_steps": 5,
                "warmup_start": 1e-4,
                "final": 1e-6,
            },
            {0: 1e-4, 5: 5e-3, 600: 1e-6},
        ),
        # airbench94: a fifth of the peak, the peak at 23 %, then down to 0.07 of it.
        (
            {"kind": "linear", "peak": 2.0, "total_steps": 100, "warmup_steps": 23, "warmup_start": 0.4, "final": 0.14},
            {0: 0.4, 22: 0.4 + 1.6 * 22 / 23, 23: 2.0, 99: 0.14 + 1.86 / 77, 100: 0.14},
        ),
        # ffcv: from a ten-thousandth to the peak at epoch 2 of 16, then to nothing.
        (
            {"kind": "linear", "peak": 1.7, "total_steps": 1600, "warmup_steps": 200, "warmup_start": 1.7e-4},
            {0: 1.7e-4, 100: (1.7 + 1.7e-4) / 2, 200: 1.7, 900: 0.85, 1599: 1.7 / 1400, 1600: 0.0},
        ),
        # MLPerf's LARS: the square of what is left of the decay.
        (
            {"kind": "polynomial", "peak": 10.0, "total_steps": 42, "warmup_steps": 2, "final": 1e-4},
            {0: 0.0, 1: 5.0, 2: 10.0, 12: 1e-4 + 9.9999 * 0.75**2, 41: 1e-4 + 9.9999 / 1600, 42: 1e-4, 99: 1e-4},
        ),
        (
            {"kind": "polynomial", "peak": 0.8, "total_steps": 10, "power": 3.0},
            {0: 0.8, 5: 0.1, 9: 0.0008, 10: 0.0},
        ),
        ({"kind": "constant", "peak": 0.3, "total_steps": 10}, {0: 0.3, 9: 0.3}),
        ({"kind": "constant", "peak": 0.3, "total_steps": 10, "warmup_steps": 3}, {0: 0.0, 1: 0.1, 2: 0.2, 3: 0.3}),
    ],
)
def test_the_rate_at_points_computed_by_hand(options, points):
    schedule = make_schedule(**options)
    got = {step: float(np.asarray(schedule(step))) for step in points}
    assert got == pytest.approx(points, rel=1e-5, abs=1e-7)


def test_an_unknown_schedule_is_refused_by_name():
    with pytest.raises(ValueError, match="'cosin'"):
        make_schedule("cosin", peak=0.1, total_steps=10)
