"""The type in which gradients of a bfloat16 network are summed over eight devices, as docs/scaling.md has it."""

import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

from resnet_jax.models.resnet.blocks import BasicBlock
from resnet_jax.models.resnet.resnet import ResNet
from resnet_jax.runtime.sharding import data_mesh, replicated, sharded
from resnet_jax.training.state import create_train_state
from resnet_jax.training.step import train_step

MODEL = ResNet((1,), BasicBlock, num_classes=3, width=8, stem="cifar", bn_group_size=2, dtype=jnp.bfloat16)
FAST = {"xla_backend_optimization_level": 0}  # of the compilation alone: nothing runs
ALL_REDUCE = re.compile(r"= (\w+)\[([\d,]*)\]\S* all-reduce\(")


def all_reduces(folder) -> list[tuple[str, int]]:
    """Return dtype and number of axes of every sum over the devices, as the partitioner writes them.

    XLA:CPU widens the sums of bfloat16 afterwards; GPUs and TPUs do not.
    """
    mesh, tx = data_mesh(), optax.sgd(0.1)
    shapes = jax.eval_shape(partial(create_train_state, MODEL, tx, 8, jax.random.key(0)))
    state = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated(mesh)), shapes)
    batch = {
        name: jax.ShapeDtypeStruct(shape, dtype, sharding=sharded(mesh))
        for name, shape, dtype in (
            ("image", (16, 8, 8, 3), jnp.float32),
            ("label", (16,), jnp.int32),
            ("mask", (16,), jnp.float32),
        )
    }
    step = partial(train_step, model=MODEL, tx=tx, key=jax.random.key(0), group_size=2)
    lowered = jax.jit(step, out_shardings=replicated(mesh)).lower(state, batch)
    options: Any = {"xla_dump_to": str(folder), "xla_dump_hlo_pass_re": "spmd-partitioning"} | FAST
    lowered.compile(options)
    (text,) = (path.read_text() for path in folder.glob("*after_spmd-partitioning*.txt"))
    return [(dtype, len(shape.split(",")) if shape else 0) for dtype, shape in ALL_REDUCE.findall(text)]


@pytest.mark.parametrize(("lowerings", "of_kernels"), [(None, "f32"), ("", "bf16")])
def test_all_gradients_but_those_of_convolutions_in_jaxs_own_form_are_summed_in_float32(
    lowerings, of_kernels, tmp_path, monkeypatch
):
    if lowerings is None:
        monkeypatch.delenv("RESNET_JAX_FORMS", raising=False)
    else:
        monkeypatch.setenv("RESNET_JAX_FORMS", lowerings)
    found = all_reduces(tmp_path)
    convolutions = [dtype for dtype, axes in found if axes == 4]
    assert convolutions == [of_kernels] * 3  # the stem's and the block's two
    assert {dtype for dtype, axes in found if axes != 4} == {"f32"}
    assert len([axes for _, axes in found if axes == 2]) == 1  # the head's kernel
