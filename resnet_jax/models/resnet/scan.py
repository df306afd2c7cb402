"""Scan groups: blocks of one shape run as one loop, so that the program does not grow with the depth; recomputation.

Unlike with `nn.scan`, the parameters stay where the unrolled network has them, each block's under its own name, and are
stacked for the loop inside the program: checkpoints and the table of a network do not depend on how it is compiled,
and initial values only by rounding. They may be stacked beforehand too (`stack_scan_groups`), as in training:
ResNet-1202 trains 9,614 arrays, and a program that receives, stacks, unstacks and returns each of them compiles five
times as long as its scan groups.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from resnet_jax.layers.frozen_statistics import named_block

COLLECTIONS = ("params", "batch_stats")

# The names of the blocks of one loop, in the order in which they run.
ScanGroup = tuple[str, ...]


def block_names(stage: int, size: int) -> ScanGroup:
    """Return the names of a stage's blocks; stages count from 1. They sort as they run, also where there are 200."""
    digits = max(2, len(str(size)))
    return tuple(f"stage{stage}_block{index + 1:0{digits}d}" for index in range(size))


def apply_blocks(
    network: Any, block: Callable[..., nn.Module], names: Sequence[str], rates: Sequence[float], x: jax.Array
) -> jax.Array:
    """Return x [B,H,W,C] after the blocks of those names in turn, and update their statistics in `network`.

    With the network's `scan` several blocks run as the iterations of one loop. With its `remat` no more than each
    block's input is kept for the backward pass, and the rest is computed again: a third more work for a fraction of the
    memory.

    Args:
        network: the module under whose names the blocks' variables are: block by block or, with `scan`, stacked.
        block: makes a block from the probability with which it is left out, its `name` and its `parent`.
        names: of blocks that differ in their variables and their probability alone. Where there are several, none
            changes the shape of x.
        rates: those probabilities, one a name.
        x: the first block's input.
    """
    scan = network.scan and len(names) > 1
    if network.is_initializing() or not (scan or network.remat):
        for name, rate in zip(names, rates, strict=True):
            x = block(rate, name=name)(x)
        return x

    mutable = ["batch_stats"] if network.is_mutable_collection("batch_stats") else []
    rngs = {}
    if network.has_rng("dropout"):
        rngs = {"dropout": jax.random.split(network.make_rng("dropout"), len(names))}

    def run(name: str, rate: Any, x: jax.Array, variables: Any, rngs: Any) -> tuple[jax.Array, Any]:
        with named_block((*network.path, name)):
            return block(rate, parent=None).apply(variables, x, rngs=rngs, mutable=mutable)

    run_blocks = _run_as_loop if scan else _run_in_turn
    return run_blocks(network, run, names, rates, x, rngs)


def _run_in_turn(
    network: nn.Module, run: Callable, names: Sequence[str], rates: Sequence[float], x: jax.Array, rngs: Any
) -> jax.Array:
    """Return x after the blocks, each of them recomputed for the gradient."""
    for index, (name, rate) in enumerate(zip(names, rates, strict=True)):
        keys = jax.tree.map(lambda keys, i=index: keys[i], rngs)
        x, updates = jax.checkpoint(partial(run, name, rate))(x, _variables_of(network, name), keys)
        _put_variables(network, name, updates)
    return x


def _run_as_loop(
    network: Any, run: Callable, names: Sequence[str], rates: Sequence[float], x: jax.Array, rngs: Any
) -> jax.Array:
    """Return x after the blocks of one scan group."""

    def iteration(x: jax.Array, inputs: tuple[Any, Any, Any]) -> tuple[jax.Array, Any]:
        rate, variables, rngs = inputs
        return run(names[0], 0.0 if rate is None else rate, x, variables, rngs)

    together = stacked_name(names)
    are_stacked = network.has_variable("params", together)
    if are_stacked:
        stacked = _variables_of(network, together)
    else:
        stacked = stack([_variables_of(network, name) for name in names])
    body = jax.checkpoint(iteration, prevent_cse=False) if network.remat else iteration
    scanned_rates = jnp.array(rates, jnp.float32) if any(rates) else None
    x, updates = jax.lax.scan(body, x, (scanned_rates, stacked, rngs))
    if are_stacked:
        _put_variables(network, together, updates)
    else:
        for name, update in zip(names, unstack(updates, len(names)), strict=True):
            _put_variables(network, name, update)
    return x


def _variables_of(network: nn.Module, name: str) -> dict[str, Any]:
    return {c: network.get_variable(c, name) for c in COLLECTIONS if network.has_variable(c, name)}


def _put_variables(network: nn.Module, name: str, updates: dict[str, Any]) -> None:
    for collection, values in updates.items():
        network.put_variable(collection, name, values)


def stacked_name(names: Sequence[str]) -> str:
    """Return the name of the stacked variables of these blocks: "stage1_block02_to_block18"."""
    return f"{names[0]}_to_{names[-1].rpartition('_')[2]}"


def stack(trees: Sequence[Any]) -> Any:
    """Return one tree with arrays [n,…], from n trees with arrays […]."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def unstack(tree: Any, count: int) -> list[Any]:
    """Return the `count` trees that `stack` made one of."""
    return [jax.tree.map(lambda leaf, i=i: leaf[i], tree) for i in range(count)]


def stack_scan_groups(tree: Any, groups: Sequence[ScanGroup]) -> Any:
    """Return the tree with the values of each scan group's blocks stacked along a new first axis.

    Args:
        tree: a network's variables, or anything made of such trees: gradients, an optimizer's state.
        groups: of the network; () changes nothing.
    """

    def stacked(node: Any) -> Any:
        if not _has_group(node, groups):
            return node
        found = [names for names in groups if names[0] in node]
        inside = {name for names in found for name in names}
        rest = {name: value for name, value in node.items() if name not in inside}
        return rest | {stacked_name(names): stack([node[name] for name in names]) for names in found}

    return jax.tree.map(stacked, tree, is_leaf=lambda node: _has_group(node, groups))


def unstack_scan_groups(tree: Any, groups: Sequence[ScanGroup]) -> Any:
    """Return the tree before `stack_scan_groups`: each block's values under its own name."""
    names_of = {stacked_name(names): names for names in groups}

    def unstacked(node: Any) -> Any:
        if not _has_group(node, [(name,) for name in names_of]):
            return node
        blocks = {name: value for name, value in node.items() if name not in names_of}
        # In one order in all processes, which must run the same programs at a time.
        for stacked, names in names_of.items():
            if stacked in node:
                blocks |= zip(names, unstack(node[stacked], len(names)), strict=True)
        return blocks

    return jax.tree.map(unstacked, tree, is_leaf=lambda node: _has_group(node, [(name,) for name in names_of]))


def _has_group(node: Any, groups: Sequence[Sequence[str]]) -> bool:
    return isinstance(node, dict) and any(names[0] in node for names in groups)


def unrolled(model: nn.Module) -> nn.Module:
    """Return the same network, with the same variables, without scan and rematerialization, also of its backbone.

    Analyses find modules by their paths. Scanned and rematerialized blocks run as networks of their own, without a
    path, and all but one of a scan group not at all.
    """
    options = _compiled_otherwise(model)
    backbone = getattr(model, "backbone", None)
    if callable(backbone) and (of_backbone := _compiled_otherwise(backbone(parent=None))):
        options["backbone"] = partial(backbone, **of_backbone)
    return model.clone(**options) if options else model


def _compiled_otherwise(network: nn.Module) -> dict[str, Any]:
    return {name: False for name in ("scan", "remat") if getattr(network, name, False)}
