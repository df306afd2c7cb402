"""A residual network as an ensemble of paths (Veit et al. 2016, arXiv:1605.06431).

Every block has two ways through it, its shortcut and its residual branch, so that n blocks have 2^n paths, and the
length of a path is the number of branches on it. Lengths follow a binomial distribution around n / 2; but the gradient
along a path falls exponentially with its length. Their product says which paths train the network: the paper finds
that of 54 blocks only paths through 5 to 17 count.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from resnet_jax.analysis.capture import Array, blocks, name_of
from resnet_jax.errors import InputError
from resnet_jax.layers.stochastic_depth import StochasticDepth
from resnet_jax.models.resnet.scan import unrolled


@dataclass(frozen=True)
class PathLengths:
    """Number of and gradient along the paths of every length.

    Attributes:
        lengths: [L], numbers of residual branches on a path.
        share: [L], of all paths, those of that length.
        gradient: [L], mean norm of the gradient at an image along one path of that length.
        effective: [L], share times gradient; sums to 1.
    """

    lengths: np.ndarray
    share: np.ndarray
    gradient: np.ndarray
    effective: np.ndarray


def path_length_shares(num_blocks: int) -> np.ndarray:
    """Return the share of all 2^n paths that go through k branches, for k = 0 … n: float64 [n + 1], binomial."""
    # Integers divide exactly where a power of two is beyond any float (n = 1,801).
    return np.array([math.comb(num_blocks, k) / 2**num_blocks for k in range(num_blocks + 1)])


def path_gradients(model: nn.Module, variables: Any, images: Array, labels: Array, through_branch: Array) -> jax.Array:
    """Compute the gradient at the images along a single path; the sum over all paths is the whole gradient.

    The forward pass is the whole network's, in evaluation. In the backward pass the gradient of each block flows
    through its residual branch alone or through its shortcut alone. A ReLU after the addition belongs to both.

    Args:
        model: a residual network.
        variables: its variables, trained.
        images: float32 [B,H,W,3], normalized.
        labels: int32 [B].
        through_branch: bool [n], by block: the path goes through its branch.

    Returns:
        [B,H,W,3], gradient of each image's own cross-entropy in nats.

    Raises:
        InputError: a block of the network has no shortcut.
    """
    order = {name: index for index, name in enumerate(residual_blocks(model, variables, images))}

    def intercept(call: Callable, args: tuple, kwargs: dict, context: nn.module.InterceptorContext) -> Any:
        index = order.get(name_of(context.module)) if context.method_name == "__call__" else None
        if index is None:
            return call(*args, **kwargs)
        return _one_way(context.module, args[0], through_branch[index])

    def loss(images: jax.Array) -> jax.Array:
        with nn.intercept_methods(intercept):
            logits: Any = unrolled(model).apply(variables, images, train=False)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).sum()

    return jax.grad(loss)(images)


def residual_blocks(model: nn.Module, variables: Any, images: Array) -> tuple[str, ...]:
    """Return the names of the network's blocks, from the image on.

    Raises:
        InputError: a block has no shortcut, or there is no block.
    """
    found = blocks(model, variables, images)
    if not all(block.has_shortcut for block in found):
        raise InputError(f"{type(model).__name__}: without shortcuts there is a single path; give a ResNet")
    return tuple(block.name for block in found)


def path_lengths(
    model: nn.Module,
    variables: Any,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    lengths: Sequence[int] | None = None,
    samples: int = 10,
    batch_size: int = 32,
    seed: int = 0,
) -> PathLengths:
    """Sample paths of every length and measure the gradient along them; the paper takes 1,000 samples a length.

    Args:
        model: a residual network.
        variables: its variables, trained.
        images: float32 [N,H,W,3], normalized; each sample draws a batch of them.
        labels: int32 [N].
        lengths: which lengths; None is all, 0 to the number of blocks.
        samples: paths of each length.
        batch_size: images in a sample.
        seed: of paths and batches.

    Raises:
        InputError: a block of the network has no shortcut.
    """
    num_blocks = len(residual_blocks(model, variables, images[:1]))
    lengths = range(num_blocks + 1) if lengths is None else lengths
    rng = np.random.default_rng(seed)
    batch_size = min(batch_size, len(images))

    @jax.jit
    def mean_norm(variables: Any, images: jax.Array, labels: jax.Array, through_branch: jax.Array) -> jax.Array:
        gradients = path_gradients(model, variables, images, labels, through_branch)
        return jnp.sqrt(jnp.square(gradients).sum(axis=(1, 2, 3))).mean()

    def sample(length: int) -> float:
        chosen = rng.choice(len(images), batch_size, replace=False)
        through_branch = rng.permutation(num_blocks) < length
        return float(mean_norm(variables, images[chosen], labels[chosen], through_branch))

    gradient = np.array([np.mean([sample(length) for _ in range(samples)]) for length in lengths])
    share = path_length_shares(num_blocks)[list(lengths)]
    product = share * gradient
    return PathLengths(np.array(lengths), share, gradient, product / product.sum())


def _one_way(block: nn.Module, x: jax.Array, through_branch: jax.Array) -> jax.Array:
    """Compute a block's output, whose gradient flows through the branch alone or through the shortcut alone.

    The block runs twice outside of its network: the first run gives the branch's value, and the second uses it instead
    of its own, at the module that ends every branch. XLA drops the unused part of either run.
    """
    alone, block_variables = block.clone(parent=None, name=None), block.variables
    branch: list[jax.Array] = []

    def run(x: jax.Array, at_the_end: Callable[[jax.Array], jax.Array]) -> jax.Array:
        def intercept(call: Callable, args: tuple, kwargs: dict, context: nn.module.InterceptorContext) -> Any:
            output = call(*args, **kwargs)
            return at_the_end(output) if isinstance(context.module, StochasticDepth) else output

        with nn.intercept_methods(intercept):
            output: Any = alone.apply(block_variables, x)
        return output

    def keep(y: jax.Array) -> jax.Array:
        branch.append(y)
        return y

    run(x, keep)
    return run(_backwards_if(1 - through_branch.astype(x.dtype), x), lambda _: _backwards_if(through_branch, branch[0]))


def _backwards_if(share: jax.Array, x: jax.Array) -> jax.Array:
    """Return x, whose gradient is multiplied by `share`."""
    still = jax.lax.stop_gradient(x)
    return still + share.astype(x.dtype) * (x - still)
