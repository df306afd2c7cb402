"""Shardings of batches and states over the devices of a data-parallel training, with or without FSDP."""

import math
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

# Smaller arrays stay replicated under FSDP: the latency of an all-gather does not depend on the size, and all of them
# together are 0.4 % of ResNet-50 (BatchNorm's scales and biases, most of them).
MIN_SHARDED_SIZE = 2048  # values


def data_mesh() -> Mesh:
    """Return a mesh of all devices of all processes with one axis, "data", over which batches are sharded."""
    return Mesh(np.array(jax.devices()), ("data",))


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of an array that every device holds whole, as the state is by default."""
    return NamedSharding(mesh, PartitionSpec())


def put_whole(array: Any, sharding: Sharding) -> jax.Array:
    """Copy an array that every process has to all devices, by a `replicated` sharding."""
    return jax.make_array_from_process_local_data(sharding, np.asarray(array), np.shape(array))


def sharded(mesh: Mesh) -> NamedSharding:
    """Return the sharding of an array split along its first axis, as batches are."""
    return NamedSharding(mesh, PartitionSpec("data"))


def stack_sharded(mesh: Mesh) -> NamedSharding:
    """Return the sharding of a stack of batches, each of which is split as by `sharded`."""
    return NamedSharding(mesh, PartitionSpec(None, "data"))


def fsdp_sharding(mesh: Mesh, shape: tuple[int, ...]) -> NamedSharding:
    """Return the sharding of an array of the state under FSDP.

    The array is split along its longest axis that the number of devices divides (the last of equals), which for a
    convolution's kernel [k,k,C,D] is an axis of channels. An array without such an axis, or with fewer than
    `MIN_SHARDED_SIZE` values, is replicated.
    """
    count = mesh.devices.size
    length, axis = max(((n, i) for i, n in enumerate(shape) if n % count == 0), default=(0, 0))
    if count == 1 or not length or math.prod(shape) < MIN_SHARDED_SIZE:
        return replicated(mesh)
    return NamedSharding(mesh, PartitionSpec(*(None,) * axis, "data"))


def state_shardings(state: Any, mesh: Mesh, *, fsdp: bool) -> Any:
    """Return a tree like the state with the sharding of every array.

    Args:
        state: a TrainState, or a tree that holds one, of arrays or their shapes.
        mesh: the devices.
        fsdp: shard parameters, optimizer state and EMA (ZeRO stage 3: Rajbhandari et al. 2020, arXiv:1910.02054).
            Running statistics are replicated in any case, because the network reads and writes them whole.
    """

    def sharding_of(path: Any, leaf: Any) -> NamedSharding:
        statistics = any("batch_stats" in (getattr(key, "name", ""), getattr(key, "key", "")) for key in path)
        return fsdp_sharding(mesh, leaf.shape) if fsdp and not statistics else replicated(mesh)

    return jax.tree_util.tree_map_with_path(sharding_of, state)


def all_gather(params: Any, mesh: Mesh) -> Any:
    """Replicate sharded parameters inside a jitted step, so that the network is computed as without FSDP."""
    return jax.lax.with_sharding_constraint(params, replicated(mesh))


def reduce_scatter(gradients: Any, mesh: Mesh) -> Any:
    """Sum gradients over the devices inside a jitted step, and shard the sums as the parameters are sharded.

    The constraint to replicated sums comes first: with the final sharding alone, XLA may split the convolution that
    computes a gradient by channels instead of examples, and exchange activations. GPUs and TPUs fuse the sum and the
    split into one reduce-scatter.
    """
    summed = jax.lax.with_sharding_constraint(gradients, replicated(mesh))
    return jax.lax.with_sharding_constraint(summed, state_shardings(summed, mesh, fsdp=True))
