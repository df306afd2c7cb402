"""What training carries from step to step, and where its arrays lie."""

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
) -> TrainState:
    """The state before the first step, on every device of the mesh."""
    # One random number generator a parameter: XLA on CPUs spends long on what runs once (measured for ResNet-20:
    # 11 s as it is, 4 s without optimisation).
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    options = {"xla_backend_optimization_level": 0} if on_cpu else None
    fresh = partial(fresh_state, model, tx, image_size, seed, averaged=averaged)
    return jax.jit(fresh, out_shardings=replicated(mesh), compiler_options=options)()


def fresh_state(
    model: nn.Module, tx: optax.GradientTransformation, image_size: int, seed: int, *, averaged: bool = False
) -> TrainState:
    """The state before the first step; parameters depend on `seed` alone, not on the devices.

    With `averaged`, it has an average of the parameters and statistics, which starts as they do.
    """
    # Shapes of parameters do not depend on the batch, so one image will do.
    variables = model.init(jax.random.key(seed), jnp.zeros((1, image_size, image_size, 3)), train=False)
    params, batch_stats = variables["params"], variables.get("batch_stats", {})
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=batch_stats,
        opt_state=tx.init(params),
        ema={"params": params, "batch_stats": batch_stats} if averaged else {},
    )
