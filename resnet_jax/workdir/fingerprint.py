"""Fingerprints of arrays: a few integers that any flipped bit changes, however the arrays are sharded."""

from typing import Any

import jax
import jax.numpy as jnp

Fingerprint = dict[str, list[int]]


@jax.jit
def _leaf_sums(leaf: jax.Array) -> jax.Array:
    width = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[leaf.dtype.itemsize]
    bits = jax.lax.bitcast_convert_type(leaf, width).astype(jnp.uint32).reshape(-1)
    weight = 2 * jax.lax.iota(jnp.uint32, bits.size) + 1
    return jnp.stack([bits.sum(dtype=jnp.uint32), (bits * weight).sum(dtype=jnp.uint32)])


def fingerprint(tree: Any) -> Fingerprint:
    """Return two integers for every array of the tree: the sum and the position-weighted sum of its bit patterns.

    The key is the array's path, type and shape. Sums modulo 2^32 do not depend on their order, so the fingerprint is
    the same however the arrays are sharded. A single flipped bit always changes it.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    # Array by array: a program for thousands of them would compile for minutes, and there are few shapes.
    sums = jax.device_get([_in_turn(leaf, _leaf_sums(leaf)) for _, leaf in leaves])
    return {described(path, leaf): [int(n) for n in s] for (path, leaf), s in zip(leaves, sums, strict=True)}


def _in_turn(leaf: Any, sums: jax.Array) -> jax.Array:
    # Sums of sharded arrays are sums over devices, and many such programs at a time lock each other out on XLA's CPU
    # backend, which then ends the process (with eight devices on two busy cores).
    sharded = isinstance(leaf, jax.Array) and not leaf.is_fully_replicated
    return sums.block_until_ready() if sharded else sums


def described(path: Any, leaf: Any) -> str:
    """Return the key of an array in a fingerprint."""
    return f"{jax.tree_util.keystr(path)} {leaf.dtype}{list(leaf.shape)}"
