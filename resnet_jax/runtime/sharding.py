import math
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def data_mesh() -> Mesh:
    """All devices of all processes in one axis, "data", over which a batch is divided."""
    return Mesh(np.array(jax.devices()), ("data",))


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array: the state, as a rule."""
    return NamedSharding(mesh, PartitionSpec())


def sharded(mesh: Mesh) -> NamedSharding:
    """Every device holds its share of the first axis: a batch."""
    return NamedSharding(mesh, PartitionSpec("data"))


# Arrays of fewer values stay whole: to gather one costs as much waiting as to gather a large one, and all of them
# together are 0.4 % of ResNet-50 (BatchNorm's scales and biases, most of them).
SMALLEST_DIVIDED = 2048


def divided(mesh: Mesh, shape: tuple[int, ...]) -> NamedSharding:
    """Every device holds its share of the longest axis that they divide (of equals the last); else the whole array.

    Of a convolution's kernel [k,k,C,D] that is an axis of channels.
    """
    count = mesh.devices.size
    length, axis = max(((n, i) for i, n in enumerate(shape) if n % count == 0), default=(0, 0))
    if count == 1 or not length or math.prod(shape) < SMALLEST_DIVIDED:
        return replicated(mesh)
    return NamedSharding(mesh, PartitionSpec(*(None,) * axis, "data"))


def state_shardings(state: Any, mesh: Mesh, *, fsdp: bool) -> Any:
    """Where the arrays of a state lie, as a tree like it: on every device, or with `fsdp` divided over them.

    Divided are parameters, the optimizer's state and the average of the parameters; never running statistics, which the
    network reads and writes whole.

    Args:
        state: a TrainState, or a tree that holds one, of arrays or their shapes.
        mesh: the devices.
        fsdp: whether to divide: ZeRO's third stage (Rajbhandari et al. 2020, arXiv:1910.02054).
    """

    def place(path: Any, leaf: Any) -> NamedSharding:
        statistics = any("batch_stats" in (getattr(key, "name", ""), getattr(key, "key", "")) for key in path)
        return divided(mesh, leaf.shape) if fsdp and not statistics else replicated(mesh)

    return jax.tree_util.tree_map_with_path(place, state)


def gathered(params: Any, mesh: Mesh) -> Any:
    """Divided parameters, whole on every device: for the network, which is then computed as without dividing."""
    return jax.lax.with_sharding_constraint(params, replicated(mesh))


def scattered(gradients: Any, mesh: Mesh) -> Any:
    """Gradients of whole parameters, divided as the parameters are: what the optimizer sees of them on each device.

    They are asked for as whole sums first. Asked for their shares alone, XLA may divide the convolution that makes them
    by channels instead of examples, and send activations around. GPUs and TPUs sum and cut in one reduce-scatter.
    """
    summed = jax.lax.with_sharding_constraint(gradients, replicated(mesh))
    return jax.lax.with_sharding_constraint(summed, state_shardings(summed, mesh, fsdp=True))
