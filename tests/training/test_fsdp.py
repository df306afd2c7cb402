"""A state that lies divided over the devices trains as one that every device holds."""

from collections import Counter
from functools import partial
from typing import Any

import jax
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, PartitionSpec

from resnet_jax.models.resnet.blocks import BasicBlock
from resnet_jax.models.resnet.resnet import ResNet
from resnet_jax.optim.ema import Ema
from resnet_jax.optim.optimizers import make_optimizer
from resnet_jax.runtime.sharding import MIN_SHARDED_SIZE, fsdp_sharding, replicated, sharded, state_shardings
from resnet_jax.training.state import init_train_state
from resnet_jax.training.step import train_step
from tests.run.test_compiled_step import exchanged

MODEL = ResNet((1, 1), BasicBlock, num_classes=3, width=16, stem="cifar", bn_group_size=2)
DEVICES = 8


def mesh_of(devices: int = DEVICES) -> Mesh:
    return Mesh(np.array(jax.devices()[:devices]), ("data",))


@pytest.mark.parametrize(
    ("shape", "spec"),
    [
        ((1, 1, 64, 256), PartitionSpec(None, None, None, "data")),
        ((1, 1, 256, 64), PartitionSpec(None, None, "data")),
        ((3, 3, 64, 64), PartitionSpec(None, None, None, "data")),  # of equals the last
        ((2048, 1000), PartitionSpec("data")),
        ((7, 7, 3, 64), PartitionSpec(None, None, None, "data")),
        ((3, 3, 30, 60), PartitionSpec()),  # nothing that eight devices divide
        ((64,), PartitionSpec()),  # too small
        ((), PartitionSpec()),
    ],
)
def test_the_longest_axis_that_the_devices_divide_is_divided(shape, spec):
    assert fsdp_sharding(mesh_of(), shape).spec == spec
    assert fsdp_sharding(mesh_of(1), shape).spec == PartitionSpec()


def optimizer(name: str, rate: float, **options: Any) -> optax.GradientTransformation:
    return make_optimizer(name, optax.constant_schedule(rate), weight_decay=1e-4, **options)


def two_steps(tx, *, fsdp: bool, micro_batches: int = 1, ema: Ema | None = None):
    """The state after two steps on eight devices, and the compiled step."""
    mesh = mesh_of()
    state = init_train_state(MODEL, tx, 8, 0, mesh, with_ema=ema is not None, fsdp=fsdp)
    places = jax.tree.map(lambda leaf: leaf.sharding, state)
    step = partial(
        train_step,
        model=MODEL,
        tx=tx,
        key=jax.random.key(0),
        micro_batches=micro_batches,
        group_size=2,
        ema=ema,
        fsdp_mesh=mesh if fsdp else None,
    )
    rng = np.random.default_rng(1)
    batch = {
        "image": rng.normal(size=(32, 8, 8, 3)).astype(np.float32),
        "label": rng.integers(0, 3, 32).astype(np.int32),
        "mask": np.ones(32, np.float32),
    }
    batch = jax.device_put(batch, sharded(mesh))
    compiled = jax.jit(step, out_shardings=(places, replicated(mesh))).lower(state, batch).compile()
    for _ in range(2):
        state, _ = compiled(state, batch)
    return state, compiled


WITH_EMA = {"ema": Ema(0.9)}


@pytest.fixture(scope="module")
def both():
    """(state, compiled step) with SGD and an average: whole, and divided."""
    tx = optimizer("sgd", 0.1)
    return two_steps(tx, fsdp=False, **WITH_EMA), two_steps(tx, fsdp=True, **WITH_EMA)


def assert_same_numbers(whole, parted):
    # As micro-batches against the whole batch (test_accumulate): another order of sums and nothing else.
    jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-5, atol=2e-6), jax.device_get(parted), whole)


@pytest.mark.slow
def test_the_divided_state_is_that_of_whole_arrays(both):
    (whole, _), (parted, _) = both
    assert_same_numbers(jax.device_get(whole), parted)


# Those that look at the norm of whole arrays or make them orthogonal, and one that has a state of other shapes.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("tx", "options"),
    [
        (optimizer("lars", 1.0, clip_norm=0.5), {"micro_batches": 2}),
        (optimizer("lamb", 1e-3, adaptive_clip=0.01), {}),
        (optimizer("muon", 0.02), {"ema": Ema(0.5, every=2, write_back=True)}),
    ],
    ids=["lars, norm clipped, micro-batches", "lamb, units clipped", "muon, lookahead"],
)
def test_optimizers_that_look_at_whole_arrays_see_them_whole(tx, options):
    whole, parted = (two_steps(tx, fsdp=fsdp, **options)[0] for fsdp in (False, True))
    assert_same_numbers(jax.device_get(whole), parted)
    lies_where_it_should(parted)


def lies_where_it_should(state):
    places = state_shardings(state, mesh_of(), fsdp=True)
    for leaf, place in zip(jax.tree.leaves(state), jax.tree.leaves(places), strict=True):
        assert leaf.sharding.is_equivalent_to(place, leaf.ndim)


def bytes_on(device: jax.Device, tree: Any) -> int:
    shards = [shard for leaf in jax.tree.leaves(tree) for shard in leaf.addressable_shards]
    return sum(shard.data.nbytes for shard in shards if shard.device == device)


def divided_bytes(state) -> int:
    """Bytes of the whole arrays that are divided."""
    trained = (state.params, state.opt_state, state.ema["params"])
    return sum(leaf.nbytes for leaf in jax.tree.leaves(trained) if leaf.size >= MIN_SHARDED_SIZE)


@pytest.mark.slow
def test_every_device_holds_an_eighth_of_all_that_is_trained(both):
    (whole, _), (parted, _) = both
    lies_where_it_should(parted)
    trained = (parted.params, parted.opt_state, parted.ema["params"])
    total = bytes_on(jax.devices()[0], (whole.params, whole.opt_state, whole.ema["params"]))
    assert total == 3 * sum(leaf.nbytes for leaf in jax.tree.leaves(whole.params)) + 4 * 1  # and a counter
    for device in jax.devices():
        small = total - divided_bytes(whole)
        assert bytes_on(device, trained) == small + divided_bytes(whole) / DEVICES < 0.2 * total
        assert bytes_on(device, parted.batch_stats) == bytes_on(device, whole.batch_stats)


@pytest.mark.slow
def test_the_step_takes_and_returns_that_much_less(both):
    (whole, of_whole), (_, of_parted) = both
    saved = divided_bytes(whole) * (1 - 1 / DEVICES)
    before, after = of_whole.memory_analysis(), of_parted.memory_analysis()
    assert before.argument_size_in_bytes - after.argument_size_in_bytes == saved
    assert before.output_size_in_bytes - after.output_size_in_bytes == saved


@pytest.mark.slow
def test_parameters_are_gathered_once_gradients_summed_once_and_activations_never_sent(both):
    (whole, of_whole), (_, of_parted) = both
    collectives = exchanged(of_parted)
    assert {name for name, _ in collectives} == {"all-gather", "all-reduce"}
    sizes = [leaf.size for leaf in jax.tree.leaves(whole.params) if leaf.size >= MIN_SHARDED_SIZE]
    assert Counter(size for name, size in collectives if name == "all-gather") == Counter(sizes)
    # XLA's CPU compiler forms no reduce-scatter: it sums whole gradients, as without dividing, and cuts. What comes
    # besides says whether every array is finite.
    sums, summed = (sum(size for name, size in exchanged(c) if name == "all-reduce") for c in (of_whole, of_parted))
    assert sums <= summed <= sums + 2 * len(jax.tree.leaves(whole))
