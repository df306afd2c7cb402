"""Limits on gradients."""

from typing import Any

import optax

from resnet_jax.optim.param_paths import map_with_path


def is_outside_head(params: Any) -> Any:
    """False for the parameters of the head, True for all others."""
    return map_with_path(lambda path, _: not path.startswith("head/"), params)


def clip(*, adaptive: float = 0.0, norm: float = 0.0) -> list[optax.GradientTransformation]:
    """The stages that limit gradients, none where nothing is asked for.

    Args:
        adaptive: the largest ratio of a unit's gradient to the unit itself, which counts as 0.001 where it is smaller
            (Brock et al. 2021, section 4.1: 0.01 for batches of 4096). A unit is what makes one output: a kernel's last
            axis. The head is left alone. Where only the last axis of a kernel is longer than 1 (a 1x1 convolution of
            one channel), optax, like the paper's own code, takes the whole kernel for one unit; timm does not.
        norm: the largest Euclidean norm of all gradients together.
    """
    stages: list[optax.GradientTransformation] = []
    if adaptive:
        stages.append(optax.masked(optax.adaptive_grad_clip(adaptive, eps=1e-3), is_outside_head))
    if norm:
        stages.append(optax.clip_by_global_norm(norm))
    return stages
