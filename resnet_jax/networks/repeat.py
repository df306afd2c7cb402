"""Blocks of one shape run by one loop, so that the program does not grow with the depth, and with recomputation.

The parameters stay where the unrolled network has them, each block's under its own name, and are stacked for the loop
inside the program: checkpoints, initial values and the table of a network do not depend on how it is compiled. Unlike
`nn.scan`, which would store them stacked.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

COLLECTIONS = ("params", "batch_stats")


def repeat(
    network: nn.Module,
    block: Callable[[Any], nn.Module],
    names: Sequence[str],
    rates: Sequence[float],
    x: jax.Array,
    *,
    scan: bool,
    remat: bool,
) -> jax.Array:
    """Sends x [B,H,W,C] through the blocks of those names in turn, and updates their statistics in `network`.

    Args:
        network: whose variables those of the blocks are. They must exist: a network is initialised without this.
        block: the block, without name or parent, of the probability with which it is left out.
        names: of the blocks; with `scan`, of blocks that differ in their variables and their rate alone, none of
            which changes the shape of x.
        rates: those probabilities, one a name.
        x: the first block's input.
        scan: run the blocks as the iterations of one loop.
        remat: keep no more than each block's input for the backward pass, and compute the rest again: a third more
            work for a fraction of the memory.
    """
    variables = [
        {c: network.get_variable(c, name) for c in COLLECTIONS if network.has_variable(c, name)} for name in names
    ]
    mutable = ["batch_stats"] if network.is_mutable_collection("batch_stats") else []
    rngs = {}
    if network.has_rng("dropout"):
        rngs = {"dropout": jax.random.split(network.make_rng("dropout"), len(names))}

    def run(rate: Any, x: jax.Array, variables: Any, rngs: Any) -> tuple[jax.Array, Any]:
        return block(rate).apply(variables, x, rngs=rngs, mutable=mutable)

    def iteration(x: jax.Array, inputs: tuple[Any, Any, Any]) -> tuple[jax.Array, Any]:
        rate, variables, rngs = inputs
        return run(0.0 if rate is None else rate, x, variables, rngs)

    if scan:
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *variables)
        body = jax.checkpoint(iteration, prevent_cse=False) if remat else iteration
        scanned_rates = jnp.array(rates, jnp.float32) if any(rates) else None
        x, updates = jax.lax.scan(body, x, (scanned_rates, stacked, rngs))
        changed = [jax.tree.map(lambda leaf, i=i: leaf[i], updates) for i in range(len(names))]
    else:
        changed = []
        for index, rate in enumerate(rates):
            one = partial(run, rate)
            keys = jax.tree.map(lambda keys, i=index: keys[i], rngs)
            x, updates = (jax.checkpoint(one) if remat else one)(x, variables[index], keys)
            changed.append(updates)
    for name, updates in zip(names, changed, strict=True):
        for collection, values in updates.items():
            network.put_variable(collection, name, values)
    return x
