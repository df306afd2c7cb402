"""What training carries from step to step, and where its arrays lie."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import struct
from jax.sharding import Mesh, NamedSharding, PartitionSpec


@struct.dataclass
class TrainState:
    """Everything a step reads and writes.

    Attributes:
        step: int32 scalar, steps done.
        params: trained parameters, float32.
        batch_stats: running statistics of the normalisation layers, float32.
        opt_state: the optimizer's.
        ema: the average of the values above, {"params", "batch_stats"}; {} when none is kept.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    ema: Any = struct.field(default_factory=dict)

    @property
    def variables(self) -> dict[str, Any]:
        """What the network is applied with."""
        return {"params": self.params, "batch_stats": self.batch_stats}


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


def init_state(
    model: nn.Module,
    tx: optax.GradientTransformation,
    image_size: int,
    seed: int,
    mesh: Mesh,
    *,
    averaged: bool = False,
    layout: Callable[[TrainState], TrainState] | None = None,
    fsdp: bool = False,
) -> TrainState:
    """The state before the first step, where `state_shardings` says; `layout` brings it into another form.

    Computed by one program; where there is a layout array by array, equal to rounding. That is dearer for a shallow
    network, and all that is bearable for a very deep one, because a program with a random number generator a parameter
    compiles long and there are few shapes (measured on two cores: ResNet-20 1.4 s as one program and 5.8 s array by
    array, ResNet-110 10.3 and 8.2, ResNet-1202 20.6 array by array).
    """
    if layout is not None:
        state = layout(fresh_state(model, tx, image_size, seed, averaged=averaged, lazily=True))
        return jax.device_put(state, state_shardings(state, mesh, fsdp=fsdp))
    # XLA on CPUs spends long on what runs once (ResNet-20: 11 s as it is, 4 s without optimisation).
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    options = {"xla_backend_optimization_level": 0} if on_cpu else None
    fresh = partial(fresh_state, model, tx, image_size, seed, averaged=averaged)
    places = state_shardings(jax.eval_shape(fresh), mesh, fsdp=True) if fsdp else replicated(mesh)
    return jax.jit(fresh, out_shardings=places, compiler_options=options)()


def fresh_state(
    model: nn.Module,
    tx: optax.GradientTransformation,
    image_size: int,
    seed: int,
    *,
    averaged: bool = False,
    lazily: bool = False,
) -> TrainState:
    """The state before the first step; parameters depend on `seed` alone, not on the devices.

    With `averaged`, it has an average of the parameters and statistics, which starts as they do. `lazily` leaves out
    all that the network does besides initialising; it does not go with `jax.jit`, which leaves it out by itself.
    """
    # Shapes of parameters do not depend on the batch, so one image will do.
    shape = (1, image_size, image_size, 3)
    key = jax.random.key(seed)
    if lazily:
        variables = model.lazy_init(key, jax.ShapeDtypeStruct(shape, jnp.float32), train=False)
    else:
        variables = model.init(key, jnp.zeros(shape), train=False)
    params, batch_stats = variables["params"], variables.get("batch_stats", {})
    ema = jax.tree.map(jnp.copy, {"params": params, "batch_stats": batch_stats}) if averaged else {}
    return TrainState(jnp.zeros((), jnp.int32), params, batch_stats, tx.init(params), ema)
