"""The loss landscape around a trained network's parameters (Li et al. 2018, arXiv:1712.09913).

Along random directions whose filters have the norms of the network's own filters, landscapes of different networks can
be compared: a step of one filter norm means the same for networks with large and with small weights. The paper finds
wide smooth minima for residual networks, and a chaotic landscape for deep plain networks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from resnet_jax.analysis.map_batches import map_batches
from resnet_jax.models.resnet.scan import unrolled


@dataclass(frozen=True)
class Landscape:
    """Loss and error on a line or on a square around the trained parameters.

    Attributes:
        steps: [P], distances along every direction, in filter norms; 0 is the trained network.
        loss: [P] on a line, [P,P] on a square (first direction, second direction); mean cross-entropy in nats.
        error: of the same shape; top-1, fractions.
    """

    steps: np.ndarray
    loss: np.ndarray
    error: np.ndarray


def filter_normalized_direction(params: Any, seed: int) -> Any:
    """Draw a direction, a tree like `params`, whose filters have the norms of the network's filters.

    A filter computes one output channel: kernel [...,i] of a convolution or a dense layer. Biases and normalization
    scales, the leaves of one axis, stay where they are: their direction is zero, as in the paper's
    experiments (the authors' option `xignore=biasbn`).
    """
    # By numpy: XLA compiles a generator of its own for every shape, which takes longer than the surface.
    rng = np.random.default_rng(seed)

    def direction(leaf: Any) -> np.ndarray:
        weights = np.asarray(leaf, np.float32)
        if weights.ndim <= 1:
            return np.zeros_like(weights)
        drawn = rng.standard_normal(weights.shape, np.float32)
        axes = tuple(range(weights.ndim - 1))
        lengths, norms = (np.sqrt(np.square(values).sum(axis=axes)) for values in (weights, drawn))
        return drawn * (lengths / norms)

    return jax.tree.map(direction, params)


def surface(
    model: nn.Module,
    variables: Any,
    images: np.ndarray,
    labels: np.ndarray,
    directions: Sequence[Any],
    points: np.ndarray,
    *,
    batch_size: int = 500,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute loss and error at points of the space that directions span around the trained parameters.

    The network runs in evaluation with the running statistics of the training, as in the authors' code: they are not
    moved along the directions.

    Args:
        model: any classifier.
        variables: its variables, trained.
        images: float32 [N,H,W,3], normalized.
        labels: int32 [N].
        directions: D trees like `variables["params"]`.
        points: [P,D], coordinates along the directions; zeros are the trained network.
        batch_size: images computed at once.

    Returns:
        Mean cross-entropy in nats [P], top-1 error as a fraction [P].
    """

    @jax.jit
    def measures(variables: Any, directions: Any, point: jax.Array, images: jax.Array, labels: jax.Array) -> jax.Array:
        params = variables["params"]
        for step, direction in zip(point, directions, strict=True):
            params = jax.tree.map(lambda w, d, step=step: w + step * d, params, direction)
        logits: Any = unrolled(model).apply({**variables, "params": params}, images, train=False)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return jnp.stack([loss, logits.argmax(axis=-1) != labels], axis=-1)

    # Point after point through one compiled function: any number of points compiles once, and a `lax.map` over them
    # takes as long. A `vmap` would hold the networks of all points in memory.
    def at_all_points(images: np.ndarray, labels: np.ndarray) -> jax.Array:
        found = [measures(variables, tuple(directions), p, images, labels) for p in np.asarray(points, np.float32)]
        return jnp.stack(found, axis=1)

    loss, error = map_batches(at_all_points, batch_size, images, labels).mean(axis=0, dtype=np.float64).T
    return loss, error


def loss_line(
    model: nn.Module,
    variables: Any,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    radius: float = 1.0,
    num_points: int = 21,
    seed: int = 0,
    batch_size: int = 500,
) -> Landscape:
    """Compute the loss along one random direction, from -radius to radius; arguments as in `surface`."""
    steps = np.linspace(-radius, radius, num_points)
    direction = filter_normalized_direction(variables["params"], seed)
    found = surface(model, variables, images, labels, (direction,), steps[:, None], batch_size=batch_size)
    return Landscape(steps, *found)


def loss_square(
    model: nn.Module,
    variables: Any,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    radius: float = 1.0,
    num_points: int = 21,
    seed: int = 0,
    batch_size: int = 500,
) -> Landscape:
    """Compute the loss over two random directions, each from -radius to radius; arguments as in `surface`."""
    steps = np.linspace(-radius, radius, num_points)
    directions = [filter_normalized_direction(variables["params"], draw) for draw in (2 * seed, 2 * seed + 1)]
    points = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    found = surface(model, variables, images, labels, directions, points, batch_size=batch_size)
    return Landscape(steps, *(values.reshape(num_points, num_points) for values in found))
