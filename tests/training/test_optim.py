"""Schedules at points computed by hand; the optimizer against torch's update rule."""

from typing import Any, cast

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from resnet_jax.training.optim import decay_mask, make_optimizer, make_schedule


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
        ({"kind": "constant", "peak": 0.3, "total_steps": 10}, {0: 0.3, 9: 0.3}),
        ({"kind": "constant", "peak": 0.3, "total_steps": 10, "warmup_steps": 3}, {0: 0.0, 1: 0.1, 2: 0.2, 3: 0.3}),
    ],
)
def test_the_rate_at_points_computed_by_hand(options, points):
    schedule = make_schedule(**options)
    got = {step: float(np.asarray(schedule(step))) for step in points}
    assert got == pytest.approx(points, rel=1e-5, abs=1e-7)


def test_an_unknown_schedule_or_optimizer_is_refused_by_name():
    with pytest.raises(ValueError, match="'cosin'"):
        make_schedule("cosin", peak=0.1, total_steps=10)
    with pytest.raises(ValueError, match="'sgdm'"):
        make_optimizer("sgdm", optax.constant_schedule(0.1))


PARAMS = {
    "conv1": {"kernel": np.full((3, 3, 2, 2), 0.5)},
    "norm1": {"scale": np.array([1.0, 2.0]), "bias": np.array([0.5, -0.5])},
    "head": {"kernel": np.full((2, 3), -0.25), "bias": np.array([0.1, 0.2, 0.3])},
}
PARAMS = {module: {name: leaf.astype(np.float32) for name, leaf in leaves.items()} for module, leaves in PARAMS.items()}


def test_kernels_decay_and_what_has_one_axis_does_not():
    assert decay_mask(PARAMS) == {
        "conv1": {"kernel": True},
        "norm1": {"scale": False, "bias": False},
        "head": {"kernel": True, "bias": False},
    }


def gradients_of(step: int) -> dict:
    rng = np.random.default_rng(step)
    draw = lambda leaf: rng.normal(size=leaf.shape).astype(np.float32)  # noqa: E731
    return {module: {name: draw(leaf) for name, leaf in leaves.items()} for module, leaves in PARAMS.items()}


def torch_sgd(rates, *, nesterov: bool, decay: float, decays) -> dict:
    """torch.optim.SGD's documented rule with momentum 0.9 and no dampening, in float64."""
    params = {m: {n: leaf.astype(np.float64) for n, leaf in leaves.items()} for m, leaves in PARAMS.items()}
    buffers = {}
    for step, rate in enumerate(rates):
        for module, leaves in gradients_of(step).items():
            for name, gradient in leaves.items():
                value = params[module][name]
                g = gradient + (decay * value if decays(name) else 0.0)
                buffer = buffers[module, name] = 0.9 * buffers[module, name] + g if step else g
                params[module][name] = value - rate * (g + 0.9 * buffer if nesterov else buffer)
    return params


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay_norm_and_bias", [False, True])
def test_three_steps_of_sgd_are_torchs(nesterov, decay_norm_and_bias):
    rates = [0.1, 0.1, 0.01]
    tx = make_optimizer(
        "sgd",
        lambda step: jnp.where(jnp.asarray(step) < 2, 0.1, 0.01),
        nesterov=nesterov,
        weight_decay=0.3,
        decay_norm_and_bias=decay_norm_and_bias,
    )
    params, opt_state = PARAMS, tx.init(PARAMS)
    for step in range(len(rates)):
        updates, opt_state = tx.update(gradients_of(step), opt_state, params)
        params = cast(Any, optax.apply_updates(params, updates))
    expected = torch_sgd(
        rates, nesterov=nesterov, decay=0.3, decays=lambda name: decay_norm_and_bias or name == "kernel"
    )
    for module, leaves in expected.items():
        for name, leaf in leaves.items():
            np.testing.assert_allclose(params[module][name], leaf, rtol=1e-5, atol=1e-6, err_msg=f"{module}/{name}")


@pytest.mark.parametrize("decay_norm_and_bias", [False, True])
def test_adamw_decays_apart_from_the_gradient(decay_norm_and_bias):
    tx = make_optimizer(
        "adamw", optax.constant_schedule(0.1), weight_decay=0.5, decay_norm_and_bias=decay_norm_and_bias
    )
    zeros = {m: {n: np.zeros_like(leaf) for n, leaf in leaves.items()} for m, leaves in PARAMS.items()}
    updates: Any = tx.update(zeros, tx.init(PARAMS), PARAMS)[0]
    np.testing.assert_allclose(updates["head"]["kernel"], -0.05 * PARAMS["head"]["kernel"], rtol=1e-5)
    left = 0.05 if decay_norm_and_bias else 0.0
    np.testing.assert_allclose(updates["norm1"]["scale"], -left * PARAMS["norm1"]["scale"], rtol=1e-5)
