"""Loss, metric sums and one training step, on any number of devices."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from jax.sharding import Mesh

from resnet_jax.models.resnet.blocks import BasicBlock
from resnet_jax.models.resnet.resnet import ResNet
from resnet_jax.optim.optimizers import make_optimizer
from resnet_jax.optim.schedules import make_schedule
from resnet_jax.runtime.sharding import replicated, sharded
from resnet_jax.training.losses import cross_entropy, make_loss
from resnet_jax.training.metrics import NO_STEP, add_sums, classification_sums, label_rank, mean_metrics, zero_sums
from resnet_jax.training.state import TrainState, create_train_state, init_train_state
from resnet_jax.training.step import train_step

MODEL = ResNet((1,), BasicBlock, num_classes=3, width=4, stem="cifar")
TX = make_optimizer("sgd", make_schedule("constant", peak=0.1, total_steps=10), weight_decay=1e-4)
STEP = jax.jit(partial(train_step, model=MODEL, tx=TX, key=jax.random.key(0)))


def mesh_of(devices: int) -> Mesh:
    return Mesh(np.array(jax.devices()[:devices]), ("data",))


@pytest.fixture(scope="module")
def state() -> TrainState:
    return jax.device_get(init_train_state(MODEL, TX, 8, 0, mesh_of(1)))


def batch_of(size: int = 16, seed: int = 0) -> dict:
    """Images whose brightness tells their class."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, size).astype(np.int32)
    image = rng.normal(size=(size, 8, 8, 3)) + label[:, None, None, None] - 1
    return {"image": image.astype(np.float32), "label": label, "mask": np.ones(size, np.float32)}


def numpy_cross_entropy(logits, label, smoothing):
    logits = np.asarray(logits, np.float64)
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    hit = log_p[np.arange(len(label)), label]
    return -(1 - smoothing) * hit - smoothing * log_p.mean(axis=-1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_numpys(smoothing):
    rng = np.random.default_rng(0)
    logits, label = rng.normal(0, 3, (6, 5)).astype(np.float32), rng.integers(0, 5, 6)
    got = cross_entropy(jnp.asarray(logits), {"label": jnp.asarray(label)}, smoothing)
    np.testing.assert_allclose(got, numpy_cross_entropy(logits, label, smoothing), rtol=1e-5)


def test_cross_entropy_of_bfloat16_logits_is_computed_in_float32():
    logits = jnp.asarray(np.random.default_rng(0).normal(0, 3, (64, 5)), jnp.bfloat16)
    label = jnp.zeros(64, jnp.int32)
    got = cross_entropy(logits, {"label": label})
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, numpy_cross_entropy(logits, label, 0.0), rtol=1e-5, atol=1e-6)


def test_sums_count_what_the_mask_admits():
    # The label is the best, the fifth and the sixth (last) guess; the fourth example is padding and would be a hit.
    guesses = jnp.array([5.0, 4.0, 3.0, 2.0, 1.0, 0.0])
    logits = jnp.tile(guesses, (4, 1))
    batch = {"label": jnp.array([0, 4, 5, 0]), "mask": jnp.array([1.0, 1.0, 1.0, 0.0])}
    sums = classification_sums(logits, batch, jnp.array([1.0, 2.0, 4.0, 8.0]))
    assert {name: float(value) for name, value in sums.items() if name != "first_bad_step"} == {
        "loss": 7.0,
        "top1": 1.0,
        "top5": 2.0,
        "count": 3.0,
    }
    assert mean_metrics(sums) == {
        "loss": pytest.approx(7 / 3),
        "top1": pytest.approx(1 / 3),
        "top5": pytest.approx(2 / 3),
        "num_examples": 3,
    }


def test_with_fewer_than_five_classes_every_guess_is_in_the_top_five():
    batch = {"label": jnp.array([0, 1, 2]), "mask": jnp.ones(3)}
    sums = classification_sums(jnp.tile(jnp.array([2.0, 1.0, 0.0]), (3, 1)), batch, jnp.zeros(3))
    assert (float(sums["top1"]), float(sums["top5"])) == (1.0, 3.0)


def test_added_sums_keep_the_earliest_bad_step():
    later = zero_sums() | {"first_bad_step": jnp.int32(7), "count": jnp.float32(2)}
    earlier = zero_sums() | {"first_bad_step": jnp.int32(3), "count": jnp.float32(5)}
    for a, b in [(later, earlier), (earlier, later)]:
        total = add_sums(a, b)
        assert (int(total["first_bad_step"]), float(total["count"])) == (3, 7.0)
    assert int(add_sums(zero_sums(), zero_sums())["first_bad_step"]) == NO_STEP


def test_the_loss_of_a_batch_falls_as_it_is_trained_on(state):
    losses = []
    for _ in range(15):
        state, sums = STEP(state, batch_of())
        losses.append(mean_metrics(sums)["loss"])
        assert int(sums["first_bad_step"]) == NO_STEP
    assert losses[-1] < 0.7 * losses[0]
    assert int(state.step) == 15


def test_a_masked_example_counts_neither_in_the_loss_nor_in_the_gradient(state):
    batch = batch_of()
    batch["mask"][4:] = 0
    other = batch | {"label": np.where(batch["mask"] == 1, batch["label"], (batch["label"] + 1) % 3)}
    (state_a, sums_a), (state_b, sums_b) = STEP(state, batch), STEP(state, other)
    assert float(sums_a["count"]) == 4
    jax.tree.map(np.testing.assert_array_equal, (state_a, sums_a), (state_b, sums_b))
    # The loss that is minimized is a mean over the four: with all weights 1 the step is another one.
    unmasked, _ = STEP(state, batch | {"mask": np.ones(16, np.float32)})
    assert np.abs(unmasked.params["head"]["kernel"] - state_a.params["head"]["kernel"]).max() > 1e-4


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_single_bad_pixel_is_reported_with_its_step(state, poison):
    for seed in (1, 2):
        state, sums = STEP(state, batch_of(seed=seed))
        assert int(sums["first_bad_step"]) == NO_STEP
    batch = batch_of(seed=3)
    batch["image"][5, 2, 2, 1] = poison
    _, sums = STEP(state, batch)
    assert int(sums["first_bad_step"]) == 3


def test_an_overflowing_update_is_reported_though_the_loss_is_finite(state):
    huge = make_optimizer("sgd", make_schedule("constant", peak=3e38, total_steps=10), momentum=0.0)
    step = jax.jit(partial(train_step, model=MODEL, tx=huge, key=jax.random.key(0)))
    batch = batch_of()
    batch["image"] *= 30
    kernel = state.params["head"]["kernel"] * 1e3
    wild = state.replace(
        params=state.params | {"head": state.params["head"] | {"kernel": kernel}}, opt_state=huge.init(state.params)
    )
    new, sums = step(wild, batch)
    assert np.isfinite(sums["loss"])
    assert not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(new.params))
    assert int(sums["first_bad_step"]) == 1


def test_smoothing_changes_the_loss_that_is_trained_and_logged(state):
    smooth = jax.jit(partial(train_step, model=MODEL, tx=TX, key=jax.random.key(0), loss=make_loss(smoothing=0.5)))
    (_, hard), (_, soft) = STEP(state, batch_of()), smooth(state, batch_of())
    # At first the logits are near zero, so that both are near log 3.
    assert abs(float(hard["loss"]) - float(soft["loss"])) > 1e-4
    assert float(hard["top1"]) == float(soft["top1"])


def test_steps_on_eight_devices_are_the_steps_on_one(state):
    results = []
    for devices in (1, 8):
        mesh = mesh_of(devices)
        step = jax.jit(
            partial(train_step, model=MODEL, tx=TX, key=jax.random.key(0)),
            in_shardings=(replicated(mesh), sharded(mesh)),
            out_shardings=replicated(mesh),
        )
        now, all_sums = state, []
        for seed in (1, 2):
            batch = batch_of(seed=seed)
            batch["mask"][-3:] = 0  # on the last two devices
            now, sums = step(now, batch)
            all_sums.append(sums)
        assert len(now.step.sharding.device_set) == devices
        results.append(jax.device_get((now, all_sums)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *results)


def test_the_rank_of_a_label_is_its_place_in_top_k():
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.integers(0, 4, (200, 9)), jnp.float32)  # ties everywhere
    logits = logits.at[0, 3].set(jnp.inf).at[1].set(-jnp.inf)
    label = jnp.asarray(rng.integers(0, 9, 200))
    _, order = jax.lax.top_k(logits, 9)
    np.testing.assert_array_equal(label_rank(logits, label), jnp.argmax(order == label[:, None], axis=-1))
    assert label_rank(jnp.full((1, 9), jnp.nan), jnp.array([0])) == 8


def test_the_first_state_depends_on_the_seed_and_not_on_the_devices():
    model = MODEL.clone(stage_sizes=())  # a stem and a head: drawing each parameter takes seconds to compile
    one, eight, other = (
        jax.device_get(init_train_state(model, TX, 8, seed, mesh_of(devices)))
        for seed, devices in [(0, 1), (0, 8), (1, 1)]
    )
    jax.tree.map(np.testing.assert_array_equal, one, eight)
    for module, leaf in [("stem_conv", "kernel"), ("head", "kernel")]:
        assert np.abs(other.params[module][leaf] - one.params[module][leaf]).max() > 1e-3


class TwoHeads(nn.Module):
    """The least that has an auxiliary head."""

    @nn.compact
    def __call__(self, images, train=False, features=False):
        pooled = images.mean(axis=(1, 2))
        outputs = {name: nn.Dense(3, name=name)(pooled) for name in ("logits", "aux1")}
        return outputs if features else outputs["logits"]


@pytest.mark.slow
def test_auxiliary_heads_take_part_in_the_loss_with_their_weight():
    tx = optax.sgd(0.1)
    state = create_train_state(TwoHeads(), tx, 8, jax.random.key(0))
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)
    batch = {"image": jnp.asarray(images), "label": jnp.array([0, 1, 2, 0]), "mask": jnp.ones(4)}
    start = state.params["aux1"]["bias"]

    def moved(weight):
        new, sums = train_step(state, batch, model=TwoHeads(), tx=tx, key=jax.random.key(0), aux_weight=weight)
        return new.params["aux1"]["bias"] - start, sums["loss"]

    (still, loss), (once, same_loss), (twice, _) = moved(0.0), moved(0.3), moved(0.6)
    np.testing.assert_array_equal(still, np.zeros(3))
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-4)
    assert np.abs(once).max() > 1e-3
    np.testing.assert_allclose(loss, same_loss)  # what is logged is the main head's
