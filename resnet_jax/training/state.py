"""What training carries from step to step, and where its arrays lie."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from jax.sharding import Mesh

from resnet_jax.runtime.sharding import replicated, state_shardings
from resnet_jax.training.metrics import zero_sums


@struct.dataclass
class TrainState:
    """Everything a step reads and writes.

    Attributes:
        step: int32 scalar, steps done.
        params: trained parameters, float32.
        batch_stats: running statistics of the normalization layers, float32.
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


def init_train_state(
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
        state = layout(create_train_state(model, tx, image_size, seed, averaged=averaged, lazily=True))
        return jax.device_put(state, state_shardings(state, mesh, fsdp=fsdp))
    # XLA on CPUs spends long on what runs once (ResNet-20: 11 s as it is, 4 s without optimization).
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    options = {"xla_backend_optimization_level": 0} if on_cpu else None
    fresh = partial(create_train_state, model, tx, image_size, seed, averaged=averaged)
    places = state_shardings(jax.eval_shape(fresh), mesh, fsdp=True) if fsdp else replicated(mesh)
    return jax.jit(fresh, out_shardings=places, compiler_options=options)()


def create_train_state(
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
    all that the network does besides initializing; it does not go with `jax.jit`, which leaves it out by itself.
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


def abstract_checkpoint(
    model: nn.Module,
    tx: optax.GradientTransformation,
    image_size: int,
    mesh: Mesh,
    *,
    averaged: bool,
    fsdp: bool = False,
) -> dict[str, Any]:
    """What a checkpoint of such a training holds, block by block: shapes, types, and where to restore it to."""
    fresh = partial(create_train_state, model, tx, image_size, 0, averaged=averaged)
    shapes = jax.eval_shape(lambda: {"state": fresh(), "sums": zero_sums()})
    places = state_shardings(shapes, mesh, fsdp=fsdp)
    return jax.tree.map(lambda leaf, at: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=at), shapes, places)
