"""Micro-batches give the gradients and the statistics of the large batch."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from resnet_jax.errors import InputError
from resnet_jax.models.resnet.blocks import BasicBlock
from resnet_jax.models.resnet.resnet import ResNet
from resnet_jax.optim.optimizers import make_optimizer
from resnet_jax.optim.schedules import make_schedule
from resnet_jax.runtime.sharding import replicated, sharded
from resnet_jax.training.accumulate import accumulate_gradients, batch_multiple, check_micro_batches, micro_batches
from resnet_jax.training.state import init_train_state
from resnet_jax.training.step import train_step

GROUP = 2
MODEL = ResNet((1, 1), BasicBlock, num_classes=3, width=4, stem="cifar", bn_group_size=GROUP)
TX = make_optimizer("sgd", make_schedule("constant", peak=0.1, total_steps=10), weight_decay=1e-4)


def mesh_of(devices: int) -> Mesh:
    return Mesh(np.array(jax.devices()[:devices]), ("data",))


def batch_of(size: int = 16) -> dict:
    rng = np.random.default_rng(1)
    mask = np.ones(size, np.float32)
    mask[3] = 0  # an example that does not count leaves another number in each micro-batch
    return {
        "image": rng.normal(size=(size, 8, 8, 3)).astype(np.float32),
        "label": rng.integers(0, 3, size).astype(np.int32),
        "mask": mask,
    }


def after_two_steps(parts: int, devices: int = 1):
    mesh = mesh_of(devices)
    state = init_train_state(MODEL, TX, 8, 0, mesh)
    step = jax.jit(
        partial(train_step, model=MODEL, tx=TX, key=jax.random.key(0), micro_batches=parts, group_size=GROUP),
        out_shardings=replicated(mesh),
    )
    batch = jax.device_put(batch_of(), sharded(mesh))
    state, _ = step(state, batch)
    return jax.device_get(step(state, batch))


@pytest.mark.parametrize("count", [3, 5, 8])
def test_equal_values_keep_their_bits(count):
    """A sum divided by its number would move statistics that are frozen."""
    values = jax.random.uniform(jax.random.key(0), (1000,), minval=1, maxval=2)
    batch = {"x": jnp.arange(2.0 * count)}
    parts = jax.jit(
        lambda v: accumulate_gradients(lambda part, _: (part["x"].sum(), v + 0 * part["x"][0]), batch, count)
    )
    summed, mean = parts(values)
    assert summed == batch["x"].sum()
    np.testing.assert_array_equal(mean, values)


@pytest.fixture(scope="module")
def whole():
    return after_two_steps(1)


@pytest.mark.slow
@pytest.mark.parametrize(("parts", "devices"), [(2, 1), (8, 1), (2, 8), (4, 2)])
def test_state_and_sums_are_those_of_the_whole_batch(whole, parts, devices):
    parted = after_two_steps(parts, devices)
    # Parameters, momentum (which is the gradient) and running statistics, to the rounding of another order of sums.
    jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-5, atol=2e-6), parted, whole)


def test_every_micro_batch_takes_whole_groups_from_all_over_the_batch():
    parts = micro_batches({"x": jnp.arange(12)}, count=3, group_size=2)
    np.testing.assert_array_equal(parts["x"], [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]])


def test_groups_that_cannot_be_dealt_out_are_refused():
    with pytest.raises(ValueError, match="12 examples are not 4 micro-batches of groups of 2"):
        micro_batches({"x": jnp.arange(12)}, count=4, group_size=2)


def test_dealing_out_moves_no_image_between_devices():
    mesh = mesh_of(4)
    images = jax.device_put(jnp.zeros((16, 8, 8, 3)), sharded(mesh))

    def add(total, part):
        return total + part["image"].sum(), None

    deal = jax.jit(lambda x: jax.lax.scan(add, 0.0, micro_batches({"image": x}, 2, 2)))
    text = str(deal.lower(images).compile().as_text())
    assert "all-reduce" in text or "all_reduce" in text  # of the sums: the parser sees collectives at all
    for operation in ("all-gather", "all-to-all", "collective-permute"):
        assert operation not in text, operation


@pytest.mark.parametrize(
    ("batch_size", "count", "group_size", "devices"),
    [(16, 1, 2, 8), (16, 2, 2, 4), (16, 2, 0, 8), (256, 4, 32, 2)],
)
def test_a_device_splits_its_own_images(batch_size, count, group_size, devices):
    check_micro_batches(batch_size, count, group_size, devices)


@pytest.mark.parametrize(
    ("batch_size", "count", "group_size", "devices", "line"),
    [
        (16, 2, 2, 8, "each of 8 devices has 2 images in groups of --bn_group_size=2, which are not 2 equal"),
        (16, 4, 0, 8, "each of 8 devices has 2 images, which are not 4 equal .* a multiple of 32$"),
        (256, 4, 32, 8, "a multiple of 1024$"),
    ],
)
def test_fewer_groups_on_a_device_than_micro_batches_are_refused(batch_size, count, group_size, devices, line):
    with pytest.raises(InputError, match=line):
        check_micro_batches(batch_size, count, group_size, devices)


@pytest.mark.parametrize(("count", "group_size", "devices"), [(1, 0, 8), (1, 6, 4), (2, 0, 8), (3, 4, 2)])
def test_every_multiple_can_be_dealt_out_and_nothing_smaller(count, group_size, devices):
    multiple = batch_multiple(count, group_size, devices)
    check_micro_batches(3 * multiple, count, group_size, devices)
    smaller = [size for size in range(devices, multiple, devices) if size % (count * max(1, group_size)) == 0]
    for size in smaller:
        with pytest.raises(InputError, match=f"a multiple of {multiple}$"):
            check_micro_batches(size, count, group_size, devices)
