"""The train state, its initialization on a mesh, and the shapes of its checkpoints."""

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
from resnet_jax.training.metrics import Sums, zero_sums


@struct.dataclass
class TrainState:
    """The state of a training between steps.

    Attributes:
        step: int32 scalar, steps done.
        params: trained parameters, float32.
        batch_stats: running statistics of the normalization layers, float32.
        opt_state: the optimizer state.
        ema: the EMA of the values above, {"params", "batch_stats"}; {} when none is kept.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    ema: Any = struct.field(default_factory=dict)

    @property
    def variables(self) -> dict[str, Any]:
        """The variables of the network, for `model.apply`."""
        return {"params": self.params, "batch_stats": self.batch_stats}


def init_train_state(
    model: nn.Module,
    tx: optax.GradientTransformation,
    image_size: int,
    seed: int,
    mesh: Mesh,
    *,
    with_ema: bool = False,
    layout: Callable[[TrainState], TrainState] | None = None,
    fsdp: bool = False,
) -> TrainState:
    """Create the state before the first step on a mesh, sharded as `state_shardings` has it.

    Args:
        model: the network.
        tx: the optimizer.
        image_size: pixels a side.
        seed: of the parameters.
        mesh: the devices.
        with_ema: keep an EMA.
        layout: maps the state to another structure, such as stacked scan groups.
        fsdp: shard the state.

    The state is computed by one program; with a layout array by array, equal to rounding. That is slower for a shallow
    network, and the only practical way for a very deep one, because a program with a random number generator a
    parameter compiles long and there are few shapes (two cores, jax 0.10.2, 2026-11: ResNet-20 1.4 s as one program and
    5.8 s array by array, ResNet-110 10.3 and 8.2, ResNet-1202 20.6 array by array).
    """
    key = jax.random.key(seed)
    if layout is not None:
        state = layout(create_train_state(model, tx, image_size, key, with_ema=with_ema, lazily=True))
        return jax.device_put(state, state_shardings(state, mesh, fsdp=fsdp))
    # XLA:CPU optimizes for long, and this runs once (ResNet-20: 11 s as it is, 4 s without optimization; two cores,
    # jax 0.10.2, 2026-11).
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    options = {"xla_backend_optimization_level": 0} if on_cpu else None
    fresh = partial(create_train_state, model, tx, image_size, with_ema=with_ema)
    shardings = state_shardings(jax.eval_shape(fresh, key), mesh, fsdp=True) if fsdp else replicated(mesh)
    return jax.jit(fresh, out_shardings=shardings, compiler_options=options)(key)


def create_train_state(
    model: nn.Module,
    tx: optax.GradientTransformation,
    image_size: int,
    key: jax.Array,
    *,
    with_ema: bool = False,
    lazily: bool = False,
) -> TrainState:
    """Create the state before the first step; parameters depend on `key` alone, not on the devices.

    With `with_ema`, it has an EMA of the parameters and statistics, which starts equal to them. `lazily` initializes
    without running the network; it does not go with `jax.jit`, which drops the unused forward pass by itself.
    """
    # Shapes of parameters do not depend on the batch, so one image will do.
    shape = (1, image_size, image_size, 3)
    if lazily:
        variables = model.lazy_init(key, jax.ShapeDtypeStruct(shape, jnp.float32), train=False)
    else:
        variables = model.init(key, jnp.zeros(shape), train=False)
    return start_from(variables, tx, with_ema=with_ema)


def start_from(variables: Any, tx: optax.GradientTransformation, *, with_ema: bool = False) -> TrainState:
    """Return the state before the first step of a training that starts from variables."""
    params, batch_stats = variables["params"], variables.get("batch_stats", {})
    ema = jax.tree.map(jnp.copy, {"params": params, "batch_stats": batch_stats}) if with_ema else {}
    return TrainState(jnp.zeros((), jnp.int32), params, batch_stats, tx.init(params), ema)


def abstract_checkpoint(
    model: nn.Module,
    tx: optax.GradientTransformation,
    image_size: int,
    mesh: Mesh,
    sums: Callable[[], Sums] = zero_sums,
    *,
    with_ema: bool,
    fsdp: bool = False,
) -> dict[str, Any]:
    """Return shapes, types and shardings of a checkpoint of such a training, block by block, for its restoration."""
    fresh = partial(create_train_state, model, tx, image_size, with_ema=with_ema)
    shapes = jax.eval_shape(lambda: {"state": fresh(jax.random.key(0)), "sums": sums()})
    shardings = state_shardings(shapes, mesh, fsdp=fsdp)
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings)
