"""Variables of the blocks that run as one loop, stacked: one array [n,…] in place of the n arrays of n blocks.

ResNet-1202 trains 9,614 arrays. A program that takes, stacks, cuts and returns each of them compiles five times as long
as all its loops together, so training carries them stacked, and what is stored has them block by block again.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

# The names of the blocks of one loop, in the order in which they run.
Loop = tuple[str, ...]


def stacked_name(names: Sequence[str]) -> str:
    """Where the stacked variables of these blocks stand: "stage1_block02_to_block18"."""
    return f"{names[0]}_to_{names[-1].rpartition('_')[2]}"


def stack(trees: Sequence[Any]) -> Any:
    """One tree with arrays [n,…] of n trees with arrays […]."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def unstack(tree: Any, count: int) -> list[Any]:
    """The `count` trees that were stacked."""
    return [jax.tree.map(lambda leaf, i=i: leaf[i], tree) for i in range(count)]


def stack_loops(tree: Any, loops: Sequence[Loop]) -> Any:
    """The tree with the values of each loop's blocks stacked along a new first axis.

    Args:
        tree: a network's variables, or anything that holds trees of their structure: gradients, an optimizer's state.
        loops: of the network; () changes nothing.
    """

    def stacked(node: Any) -> Any:
        if not _holds(node, loops):
            return node
        found = [names for names in loops if names[0] in node]
        inside = {name for names in found for name in names}
        rest = {name: value for name, value in node.items() if name not in inside}
        return rest | {stacked_name(names): stack([node[name] for name in names]) for names in found}

    return jax.tree.map(stacked, tree, is_leaf=lambda node: _holds(node, loops))


def unstack_loops(tree: Any, loops: Sequence[Loop]) -> Any:
    """What `stack_loops` was given."""
    names_of = {stacked_name(names): names for names in loops}

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


def _holds(node: Any, loops: Sequence[Sequence[str]]) -> bool:
    return isinstance(node, dict) and any(names[0] in node for names in loops)
