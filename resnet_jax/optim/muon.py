"""Muon: momentum whose matrices are made orthogonal (Jordan et al. 2024, github.com/KellerJordan/Muon)."""

from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import optax

from resnet_jax.optim.param_paths import STEM, layer_of, map_with_path

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def is_matrix(params: Any) -> Any:
    """True for what Muon moves: kernels of convolutions and dense layers between stem and head.

    As in airbench94_muon, where the first convolution is frozen, and as Muon's authors advise for first and last
    layers. Kernels of three axes (efficient channel attention's) are no matrices.
    """

    def decide(path: str, leaf: Any) -> bool:
        return jnp.ndim(leaf) in (2, 4) and layer_of(path) not in (STEM, None)

    return map_with_path(decide, params)


def orthogonalize(kernel: jax.Array, steps: int = 5, epsilon: float = 1e-7) -> jax.Array:
    """A kernel [..., I, O], seen as a matrix of O columns, with its singular values brought near 1.

    The odd polynomial a x + b x^3 + c x^5 of `COEFFICIENTS`, applied to the singular values `steps` times, sends those
    above 0.002 of the matrix's norm to between 0.68 and 1.21 in five steps (in three: those above 0.02), and never
    settles at 1. The products are of the kernel's dtype; Muon's authors use bfloat16.
    """
    matrix = kernel.reshape(-1, kernel.shape[-1])
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix  # the product with its own transpose is smaller
    x = wide / (jnp.linalg.norm(wide) + epsilon)
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if wide is not matrix else x).reshape(kernel.shape)


def orthogonal_update(kernel: jax.Array, steps: int, epsilon: float) -> jax.Array:
    """`orthogonalize`, times the root of outputs over inputs where there are more outputs: Muon's own scale."""
    inputs, outputs = prod(kernel.shape[:-1]), kernel.shape[-1]
    return max(1.0, outputs / inputs) ** 0.5 * orthogonalize(kernel, steps, epsilon)


def to_unit_outputs(kernel: jax.Array) -> jax.Array:
    """What is missing from a kernel to the length sqrt(O), where an output's share has norm 1 on the average."""
    return kernel * (kernel.shape[-1] ** 0.5 / jnp.maximum(optax.tree.norm(kernel), 1e-7) - 1.0)


def normalize_matrices() -> optax.GradientTransformation:
    """Normalize Muon's kernels before each step, as airbench94_muon does instead of decaying them.

    To stand behind everything else, because what it adds is no step that has a rate.
    """

    def add(updates: Any, params: Any) -> Any:
        return jax.tree.map(lambda update, kernel: update + to_unit_outputs(kernel), updates, params)

    return optax.masked(optax.stateless(add), is_matrix)


def muon(
    schedule: optax.Schedule,
    others: optax.GradientTransformation,
    decay: optax.GradientTransformation,
    *,
    momentum: float = 0.95,
    nesterov: bool = True,
    steps: int = 5,
    epsilon: float = 1e-7,
) -> optax.GradientTransformation:
    """Muon for what `is_matrix` says and `others` for the rest.

    The momentum is the references', gradients summed and not averaged, which is the same to what is orthogonalized;
    optax's Muon corrects a bias of it and differs from them in the first steps.

    Args:
        schedule: the learning rate as a function of the step.
        others: the whole optimizer of the rest.
        decay: adds the decoupled decay of the matrices.
        momentum: of the gradients.
        nesterov: Nesterov's form.
        steps: of the Newton-Schulz iteration (airbench94_muon: 3).
        epsilon: added to the norm of a matrix.
    """

    def orthogonal(updates: Any, _: Any) -> Any:
        return jax.tree.map(lambda kernel: orthogonal_update(kernel, steps, epsilon), updates)

    matrices = optax.chain(
        optax.trace(momentum, nesterov=nesterov),
        optax.stateless(orthogonal),
        decay,
        optax.scale_by_learning_rate(schedule),
    )
    label = lambda params: jax.tree.map(lambda matrix: "matrix" if matrix else "other", is_matrix(params))  # noqa: E731
    return optax.partition({"matrix": matrices, "other": others}, label)
