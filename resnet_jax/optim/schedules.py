"""Learning-rate schedules: warm-up, then decay."""

from collections.abc import Sequence

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
    power: float = 2.0,
) -> optax.Schedule:
    """Return the learning rate as a function of the step.

    It is `warmup_start` at step 0 and `peak` at step `warmup_steps`. It is `final` at step `total_steps`, which
    no training reaches: its last step is `total_steps - 1`, as with ffcv's, airbench's and torch's per-step schedules.

    Args:
        kind: "step" (times `factor` at every milestone), "cosine", "linear" or "polynomial" (from `peak` down to
            `final`; linear with warm-up is the one-cycle schedule), or "constant" or "plateau".
        peak: the rate after warm-up.
        total_steps: length of the training, warm-up included; after it the rate stays at its last value.
        warmup_steps: steps of the warm-up.
        warmup_start: the rate of step 0 when there is a warm-up.
        warmup: "linear" climbs to `peak`; "constant" stays at `warmup_start` (He et al. 2015 for 110 layers).
        milestones: for "step", fractions of the training in (0, 1).
        factor: for "step", what each milestone multiplies the rate by (0.2: Wide ResNet).
        final: for "cosine", "linear" and "polynomial", the rate at the end.
        power: for "polynomial", of the share of the decay that is left (2: MLPerf's for LARS, which takes one step
            more than ours to get down to `final`).

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
    elif kind == "polynomial":
        decay = optax.polynomial_schedule(peak, final, power, decay_steps)
    elif kind in ("constant", "plateau"):  # the optimizer's state has the factor by which it falls on plateaus
        decay = optax.constant_schedule(peak)
    else:
        raise ValueError(f"there is no schedule {kind!r}")
    if not warmup_steps:
        return decay
    climb = optax.linear_schedule(warmup_start, peak if warmup == "linear" else warmup_start, warmup_steps)
    return optax.join_schedules([climb, decay], [warmup_steps])
