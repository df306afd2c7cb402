"""The error of a trained network whose blocks are reordered (Veit et al. 2016, arXiv:1605.06431, section 4.3).

Layers of a plain network depend on the features of the layers before them. The error of a residual network rises
smoothly with the distance of the new order from the trained one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from resnet_jax.analysis.capture import blocks
from resnet_jax.analysis.map_batches import map_batches
from resnet_jax.errors import InputError
from resnet_jax.models.resnet.scan import unrolled


@dataclass(frozen=True)
class Permutations:
    """Error of a network whose blocks are out of order.

    Attributes:
        swaps: [L], numbers of swapped pairs of blocks.
        kendall_tau: [L,S], rank correlation of the new order with the trained one: 1 is the trained one.
        error: [L,S], top-1, fractions.
    """

    swaps: np.ndarray
    kendall_tau: np.ndarray
    error: np.ndarray


def reordered(variables: Any, order: Mapping[str, str]) -> Any:
    """Return variables with reordered blocks: the block named `key` gets the variables of the block `order[key]`."""

    def moved(path: tuple[str, ...]) -> tuple[str, ...]:
        for name, block in order.items():
            parts = tuple(name.split("/"))
            if path[1 : 1 + len(parts)] == parts:
                return (path[0], *block.split("/"), *path[1 + len(parts) :])
        return path

    flat: dict[tuple[str, ...], Any] = flatten_dict(variables)
    return unflatten_dict({path: flat[moved(path)] for path in flat})


def error_by_swaps(
    model: nn.Module,
    variables: Any,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    swaps: Sequence[int],
    samples: int = 5,
    seed: int = 0,
    batch_size: int = 250,
) -> Permutations:
    """Return the top-1 error with blocks in another order: random pairs of one stage are swapped one after the other.

    Blocks that change the shape are not swapped.

    Args:
        model: a network with blocks.
        variables: its variables, trained.
        images: float32 [N,H,W,3], normalized.
        labels: int32 [N].
        swaps: L numbers of pairs.
        samples: S random orders for each.
        seed: of the pairs.
        batch_size: images computed at once.

    Raises:
        InputError: no stage has two blocks of one shape.
    """
    found = blocks(model, variables, images[:1])
    names = [block.name for block in found]
    stages = groupby((i for i, block in enumerate(found) if block.keeps_shape), lambda i: found[i].stage)
    pairs = [pair for _, members in stages for pair in combinations(members, 2)]
    if not pairs:
        raise InputError(f"{type(model).__name__}: no stage has two blocks of one shape to swap")
    rng = np.random.default_rng(seed)

    @jax.jit
    def wrong(variables: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
        logits: Any = unrolled(model).apply(variables, images, train=False)
        return logits.argmax(axis=-1) != labels

    def sample(number: int) -> tuple[float, float]:
        order = np.arange(len(names))
        for pair in rng.choice(pairs, number):
            order[pair] = order[pair[::-1]]
        new = reordered(variables, {names[index]: names[block] for index, block in enumerate(order)})
        error = map_batches(lambda x, y: wrong(new, x, y), batch_size, images, labels).mean()
        return kendall_tau(order), error

    found_values = np.array([[sample(number) for _ in range(samples)] for number in swaps])
    return Permutations(np.array(swaps), found_values[..., 0], found_values[..., 1])


def kendall_tau(order: Sequence[int] | np.ndarray) -> float:
    """Return the rank correlation of a permutation with 0, 1, 2, …: 1 for that order, -1 for its reverse."""
    order = np.asarray(order)
    i, j = np.triu_indices(len(order), 1)
    return float(np.sign(order[j] - order[i]).mean()) if len(i) else 1.0
