"""Blocks of one shape run by one loop, so that the program does not grow with the depth, and with recomputation.

Unlike with `nn.scan`, the parameters stay where the unrolled network has them, each block's under its own name, and are
stacked for the loop inside the program: checkpoints and the table of a network do not depend on how it is compiled,
and initial values only by rounding. They may be given stacked as well (`stack_scan_groups`), as training does:
ResNet-1202 trains 9,614 arrays, and a program that takes, stacks, cuts and returns each of them compiles five times as
long as all its loops together.
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
        network: whose variables those of the blocks are, block by block or, with `scan`, stacked. They must exist: a
            network is initialized without this.
        block: the block, without name or parent, of the probability with which it is left out.
        names: of the blocks; with `scan`, of blocks that differ in their variables and their rate alone, none of
            which changes the shape of x.
        rates: those probabilities, one a name.
        x: the first block's input.
        scan: run the blocks as the iterations of one loop.
        remat: keep no more than each block's input for the backward pass, and compute the rest again: a third more
            work for a fraction of the memory.
    """

    def variables_of(name: str) -> dict[str, Any]:
        return {c: network.get_variable(c, name) for c in COLLECTIONS if network.has_variable(c, name)}

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
        together = stacked_name(names)
        are_stacked = network.has_variable("params", together)
        stacked = variables_of(together) if are_stacked else stack([variables_of(name) for name in names])
        body = jax.checkpoint(iteration, prevent_cse=False) if remat else iteration
        scanned_rates = jnp.array(rates, jnp.float32) if any(rates) else None
        x, updates = jax.lax.scan(body, x, (scanned_rates, stacked, rngs))
        changed = {together: updates}
        if not are_stacked:
            changed = dict(zip(names, unstack(updates, len(names)), strict=True))
    else:
        changed = {}
        for index, (name, rate) in enumerate(zip(names, rates, strict=True)):
            one = partial(run, rate)
            keys = jax.tree.map(lambda keys, i=index: keys[i], rngs)
            x, changed[name] = (jax.checkpoint(one) if remat else one)(x, variables_of(name), keys)
    for name, updates in changed.items():
        for collection, values in updates.items():
            network.put_variable(collection, name, values)
    return x


# The names of the blocks of one loop, in the order in which they run.
ScanGroup = tuple[str, ...]


def stacked_name(names: Sequence[str]) -> str:
    """Where the stacked variables of these blocks stand: "stage1_block02_to_block18"."""
    return f"{names[0]}_to_{names[-1].rpartition('_')[2]}"


def stack(trees: Sequence[Any]) -> Any:
    """One tree with arrays [n,…] of n trees with arrays […]."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def unstack(tree: Any, count: int) -> list[Any]:
    """The `count` trees that were stacked."""
    return [jax.tree.map(lambda leaf, i=i: leaf[i], tree) for i in range(count)]


def stack_scan_groups(tree: Any, groups: Sequence[ScanGroup]) -> Any:
    """The tree with the values of each loop's blocks stacked along a new first axis.

    Args:
        tree: a network's variables, or anything that holds trees of their structure: gradients, an optimizer's state.
        groups: of the network; () changes nothing.
    """

    def stacked(node: Any) -> Any:
        if not _holds(node, groups):
            return node
        found = [names for names in groups if names[0] in node]
        inside = {name for names in found for name in names}
        rest = {name: value for name, value in node.items() if name not in inside}
        return rest | {stacked_name(names): stack([node[name] for name in names]) for names in found}

    return jax.tree.map(stacked, tree, is_leaf=lambda node: _holds(node, groups))


def unstack_scan_groups(tree: Any, groups: Sequence[ScanGroup]) -> Any:
    """What `stack_scan_groups` was given."""
    names_of = {stacked_name(names): names for names in groups}

    def cut(node: Any) -> Any:
        if not _holds(node, [(name,) for name in names_of]):
            return node
        blocks = {name: value for name, value in node.items() if name not in names_of}
        # In one order in all processes, which must run the same programs at a time.
        for stacked, names in names_of.items():
            if stacked in node:
                blocks |= zip(names, unstack(node[stacked], len(names)), strict=True)
        return blocks

    return jax.tree.map(cut, tree, is_leaf=lambda node: _holds(node, [(name,) for name in names_of]))


def _holds(node: Any, groups: Sequence[Sequence[str]]) -> bool:
    return isinstance(node, dict) and any(names[0] in node for names in groups)
