"""Muon: momentum whose matrices are made orthogonal (Jordan et al. 2024, github.com/KellerJordan/Muon)."""

from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import optax

from resnet_jax.optim.param_paths import STEM, layer_of, map_with_path

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
EPSILON = 1e-7


def matrix_mask(params: Any) -> Any:
    """Return True for what Muon updates: kernels of convolutions and dense layers between stem and head.

    As in airbench94_muon, where the first convolution is frozen, and as Muon's authors advise for first and last
    layers. Kernels of three axes (efficient channel attention's) are not matrices.
    """

    def is_matrix(path: str, leaf: Any) -> bool:
        return jnp.ndim(leaf) in (2, 4) and layer_of(path) not in (STEM, None)

    return map_with_path(is_matrix, params)


def orthogonalize(kernel: jax.Array, steps: int = 5) -> jax.Array:
    """Bring the singular values of a kernel [..., I, O], taken as a matrix of O columns, near 1.

    The odd polynomial a x + b x^3 + c x^5 of `COEFFICIENTS`, applied to the singular values `steps` times, maps those
    above 0.002 of the matrix's norm to between 0.68 and 1.21 in five steps (in three: those above 0.02), and never
    converges to 1. The products have the kernel's dtype; Muon's authors use bfloat16.
    """
    matrix = kernel.reshape(-1, kernel.shape[-1])
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix  # the product with its own transpose is smaller
    x = wide / (jnp.linalg.norm(wide) + EPSILON)
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if wide is not matrix else x).reshape(kernel.shape)


def orthogonal_update(kernel: jax.Array) -> jax.Array:
    """Orthogonalize, and scale by the root of outputs over inputs where there are more outputs: Muon's own scale."""
    inputs, outputs = prod(kernel.shape[:-1]), kernel.shape[-1]
    return max(1.0, outputs / inputs) ** 0.5 * orthogonalize(kernel)


def muon(
    schedule: optax.Schedule,
    others: optax.GradientTransformation,
    decay: optax.GradientTransformation,
    *,
    momentum: float = 0.95,
    nesterov: bool = True,
) -> optax.GradientTransformation:
    """Return Muon for the kernels of `matrix_mask`, and `others` for the rest.

    As in the references, the momentum is a sum of gradients and not a mean, which is the same to an update that is
    orthogonalized; optax's Muon corrects a bias of it and differs from them in the first steps.

    Args:
        schedule: the learning rate as a function of the step.
        others: the whole optimizer of the rest.
        decay: adds the decoupled decay of the matrices.
        momentum: in [0, 1).
        nesterov: Nesterov's form.
    """

    def orthogonal(updates: Any, _: Any) -> Any:
        return jax.tree.map(orthogonal_update, updates)

    matrices = optax.chain(
        optax.trace(momentum, nesterov=nesterov),
        optax.stateless(orthogonal),
        decay,
        optax.scale_by_learning_rate(schedule),
    )
    label = lambda params: jax.tree.map(lambda matrix: "matrix" if matrix else "other", matrix_mask(params))  # noqa: E731
    return optax.partition({"matrix": matrices, "other": others}, label)
