"""The average of the weights and Lookahead, against a loop in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.config.options import Config
from resnet_jax.optim.build import build_ema
from resnet_jax.optim.ema import Ema

STEPS = 12
VALUES = np.random.default_rng(0).normal(size=(STEPS + 1, 3)).astype(np.float32)


def history_of(ema: Ema) -> list[np.ndarray]:
    """The average after every step, of values that training leaves as they are."""
    tree = {"w": jnp.asarray(VALUES[0])}
    update = jax.jit(ema.update)
    history = []
    for step in range(1, STEPS + 1):
        tree, _ = update(tree, {"w": jnp.asarray(VALUES[step])}, jnp.int32(step))
        history.append(np.asarray(tree["w"]))
    return history


@pytest.mark.parametrize(
    ("ema", "decay_of"),
    [
        (Ema(0.9, rise="none"), lambda step: 0.9),
        (Ema(0.9, rise="ramp"), lambda step: min(0.9, (1 + step) / (10 + step))),
        (Ema(0.9, every=3, rise="ramp"), lambda step: min(0.9, (1 + step // 3) / (10 + step // 3))),
        (Ema(0.9, rise="copy", copy_steps=5), lambda step: 0.0 if step <= 5 else 0.9),
        (Ema(0.8, every=2, rise="cubic", total_steps=STEPS), lambda step: 0.8 * (step / STEPS) ** 3),
    ],
)
def test_updates_are_the_published_ones(ema, decay_of):
    want = VALUES[0].astype(np.float64)
    for step, got in enumerate(history_of(ema), start=1):
        if step % ema.every == 0:
            want = decay_of(step) * want + (1 - decay_of(step)) * VALUES[step]
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_lookahead_goes_on_from_the_average_and_ends_as_it():
    # Zhang et al. 2019, algorithm 1: fast weights walk k steps, slow weights go a part of the way, fast ones restart.
    k, total = 3, 8
    ema = Ema(0.5, every=k, rise="none", total_steps=total, write_back=True)
    slow = fast = np.zeros(3)
    trained, kept = {"w": jnp.zeros(3)}, {"w": jnp.zeros(3)}
    for step in range(1, total + 1):
        walked = {"w": trained["w"] + VALUES[step]}
        kept, trained = ema.update(kept, walked, jnp.int32(step))
        fast = fast + VALUES[step]
        if step % k == 0:
            fast = slow = slow + 0.5 * (fast - slow)
        if step == total:
            fast = slow
        np.testing.assert_allclose(trained["w"], fast, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(kept["w"], slow, rtol=1e-5, atol=1e-6)


def test_what_does_not_learn_does_not_move():
    """Rounding of the mean of equal values would move what is frozen."""
    values = jax.random.normal(jax.random.key(0), (1000,))
    ema = Ema(0.774, every=2, rise="cubic", total_steps=50, write_back=True)
    slow, fast = values, values
    for step in range(1, 51):
        slow, fast = ema.update(slow, fast, jnp.int32(step))
    np.testing.assert_array_equal(slow, values)
    np.testing.assert_array_equal(fast, values)


@pytest.mark.parametrize("lookahead", [True, False])
def test_an_average_in_few_steps_is_updated_at_the_last_one(lookahead):
    config = Config(lookahead=lookahead, ema=0.5, ema_every=5, ema_rise="none")
    for total, every in ((7, 5), (5, 5), (4, 4), (1, 1)):
        ema = build_ema(config, total)
        assert ema is not None
        assert ema.every == every
    average, trained = ema.update({"w": jnp.zeros(3)}, {"w": jnp.ones(3)}, jnp.int32(1))
    np.testing.assert_array_equal(average["w"], np.full(3, 0.5))
    np.testing.assert_array_equal(trained["w"], np.full(3, 0.5 if lookahead else 1.0))
