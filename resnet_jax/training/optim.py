"""Learning-rate schedules, optimizers, and which parameters decay."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax


def make_schedule(
    kind: str,
    *,
    peak: float,
    total_steps: int,
    warmup_steps: int = 0,
    warmup_start: float = 0.0,
    warmup: str = "linear",
    milestones: Sequence[float] = (),
    factor: float = 0.1,
    final: float = 0.0,
) -> optax.Schedule:
    """The learning rate as a function of the step.

    Args:
        kind: "step" (times `factor` at every milestone), "cosine" or "linear" (from `peak` down to `final`; with
            warm-up this is the one-cycle schedule), or "constant".
        peak: the rate after warm-up.
        total_steps: length of the training, warm-up included; after it the rate stays at its last value.
        warmup_steps: steps of the warm-up.
        warmup_start: the rate of step 0 when there is a warm-up.
        warmup: "linear" climbs to `peak`; "constant" stays at `warmup_start` (He et al. 2015 for 110 layers).
        milestones: for "step", fractions of the training in (0, 1).
        factor: for "step", what each milestone multiplies the rate by.
        final: for "cosine" and "linear", the rate at the end.

    Raises:
        ValueError: an unknown kind.
    """
    decay_steps = max(1, total_steps - warmup_steps)
    if kind == "step":
        # Milestones count from the start of the training: the decay, which starts after the warm-up, is shifted.
        boundaries: dict[int, float] = {}
        for milestone in milestones:
            step = round(milestone * total_steps) - warmup_steps
            boundaries[step] = boundaries.get(step, 1.0) * factor  # two may share a step of a short training
        decay = optax.piecewise_constant_schedule(peak, boundaries)
    elif kind == "cosine":
        decay = optax.cosine_decay_schedule(peak, decay_steps, alpha=final / peak if peak else 0.0)
    elif kind == "linear":
        decay = optax.linear_schedule(peak, final, decay_steps)
    elif kind == "constant":
        decay = optax.constant_schedule(peak)
    else:
        raise ValueError(f"there is no schedule {kind!r}")
    if not warmup_steps:
        return decay
    climb = optax.linear_schedule(warmup_start, peak if warmup == "linear" else warmup_start, warmup_steps)
    return optax.join_schedules([climb, decay], [warmup_steps])


def decay_mask(params: Any) -> Any:
    """True for the leaves that decay when norms and biases do not: kernels, which are what has two or more axes."""
    return jax.tree.map(lambda leaf: jnp.ndim(leaf) > 1, params)


def make_optimizer(
    kind: str,
    schedule: optax.Schedule,
    *,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    decay_norm_and_bias: bool = True,
) -> optax.GradientTransformation:
    """The optax transformation `tx`.

    Args:
        kind: "sgd" (weight decay is added to the gradient before the momentum, as in torch and in the papers; no
            dampening) or "adamw" (decoupled decay).
        schedule: the learning rate as a function of the step.
        momentum: of "sgd"; the first decay of "adamw" is optax's 0.9.
        nesterov: of "sgd".
        weight_decay: L2 coefficient.
        decay_norm_and_bias: whether normalisation scales and biases decay too (fb.resnet.torch) or not (Goyal et al.).

    Raises:
        ValueError: an unknown kind.
    """
    mask = None if decay_norm_and_bias else decay_mask
    if kind == "sgd":
        return optax.chain(
            optax.add_decayed_weights(weight_decay, mask=mask),
            optax.sgd(schedule, momentum=momentum, nesterov=nesterov),
        )
    if kind == "adamw":
        return optax.adamw(schedule, weight_decay=weight_decay, mask=mask)
    raise ValueError(f"there is no optimizer {kind!r}")
