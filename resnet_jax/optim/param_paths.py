"""The layer of a network that a parameter belongs to, from its path: `stem_conv/kernel`, `stage3_block05/norm2/bias`.

A network's parameters inside another's (`backbone/stage1_block01/…` of a network for dense prediction) are named alike.
"""

import re
from collections.abc import Callable
from typing import Any

import jax

STEM = (-1, 0)
BLOCK = re.compile(r"stage(\d+)(?:_[a-z]+(\d*))?")  # a plain stack's conv3 and norm3 are one layer, a whole stage is 0
TRANSITION = re.compile(r"transition(\d+)_")
AFTER_ALL_BLOCKS = 10_000

Layer = tuple[int, int]


def path_of(keys: Any) -> str:
    """Return a leaf's keys joined by slashes."""
    return jax.tree_util.keystr(keys, simple=True, separator="/")


def by_path(tree: Any) -> dict[str, Any]:
    """Return a tree's leaves by their paths."""
    return {path_of(keys): leaf for keys, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def map_with_path(function: Callable[[str, Any], Any], tree: Any) -> Any:
    """Return the tree of `function(path, leaf)`."""
    return jax.tree_util.tree_map_with_path(lambda keys, leaf: function(path_of(keys), leaf), tree)


def layer_of(path: str) -> Layer | None:
    """Return a parameter's layer, in the order from the input on: the stem, (stage, block), and None for the rest.

    The rest is heads (auxiliary ones too) and decoders: what follows the last block, and is new in a fine-tuning.
    """
    for part in path.split("/"):
        if part.startswith("stem"):
            return STEM
        if block := BLOCK.match(part):
            return int(block[1]), int(block[2] or 0)
        if transition := TRANSITION.match(part):
            return int(transition[1]), AFTER_ALL_BLOCKS
        if part.startswith(("head", "aux", "decoder")):
            return None
    return None


def is_norm_bias(path: str) -> bool:
    """Return whether a parameter is the bias of a normalization."""
    *modules, name = path.split("/")
    return name == "bias" and any("norm" in module for module in modules)


def is_kernel(path: str) -> bool:
    """Return whether a parameter is the kernel of a convolution or of a dense layer."""
    return path.rpartition("/")[2] == "kernel"
