"""What training carries from step to step, and where its arrays lie."""

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
    """Every device holds the whole array: the state."""
    return NamedSharding(mesh, PartitionSpec())


def sharded(mesh: Mesh) -> NamedSharding:
    """Every device holds its share of the first axis: a batch."""
    return NamedSharding(mesh, PartitionSpec("data"))


def init_state(
    model: nn.Module,
    tx: optax.GradientTransformation,
    image_size: int,
    seed: int,
    mesh: Mesh,
    *,
    averaged: bool = False,
    layout: Callable[[TrainState], TrainState] | None = None,
) -> TrainState:
    """The state before the first step, on every device of the mesh; `layout` brings it into another form.

    Computed by one program; where there is a layout array by array, equal to rounding. That is dearer for a shallow
    network, and all that is bearable for a very deep one, because a program with a random number generator a parameter
    compiles long and there are few shapes (measured on two cores: ResNet-20 1.4 s as one program and 5.8 s array by
    array, ResNet-110 10.3 and 8.2, ResNet-1202 20.6 array by array).
    """
    if layout is not None:
        state = layout(fresh_state(model, tx, image_size, seed, averaged=averaged, lazily=True))
        return jax.device_put(state, replicated(mesh))
    # XLA on CPUs spends long on what runs once (ResNet-20: 11 s as it is, 4 s without optimisation).
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    options = {"xla_backend_optimization_level": 0} if on_cpu else None
    fresh = partial(fresh_state, model, tx, image_size, seed, averaged=averaged)
    return jax.jit(fresh, out_shardings=replicated(mesh), compiler_options=options)()


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
