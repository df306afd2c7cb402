"""Gradient clipping."""

from typing import Any

import optax

from resnet_jax.optim.param_paths import map_with_path


def all_but_head_mask(params: Any) -> Any:
    """Return False for the parameters of the head, True for all others."""
    return map_with_path(lambda path, _: not path.startswith("head/"), params)


def clip(*, adaptive: float = 0.0, norm: float = 0.0) -> list[optax.GradientTransformation]:
    """Return the stages that clip gradients; with both limits 0, none.

    Args:
        adaptive: largest ratio of a unit's gradient to the unit itself, whose norm counts as 0.001 where it is smaller
            (Brock et al. 2021, section 4.1: 0.01 for batches of 4096). A unit is what computes one output: an index of
            a kernel's last axis. The head is left alone. Where only the last axis of a kernel is longer than 1 (a 1x1
            convolution of one channel), optax, like the paper's own code, takes the whole kernel for one unit; timm
            does not.
        norm: largest Euclidean norm of all gradients together.
    """
    stages: list[optax.GradientTransformation] = []
    if adaptive:
        stages.append(optax.masked(optax.adaptive_grad_clip(adaptive, eps=1e-3), all_but_head_mask))
    if norm:
        stages.append(optax.clip_by_global_norm(norm))
    return stages
