from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from resnet_jax import create_model

# Toy networks with every kind of block, and whatever else may differ within a loop: name, and what makes it a toy.
TOYS: dict[str, tuple[str, dict[str, Any]]] = {
    "basic": ("resnet20_cifar", {"width": 4, "stage_sizes": (1, 3)}),
    "plain, frozen": ("plain20_cifar", {"width": 4, "stage_sizes": (3,), "norm": "frozen"}),
    "projections, batch groups": (
        "resnet20_cifar",
        {"width": 4, "stage_sizes": (3,), "shortcut": "C", "bn_group_size": 2},
    ),
    "gates": ("resnet110_exclusive_gate_cifar", {"width": 4, "stage_sizes": (3,)}),
    "reordered": ("resnet110_norm_after_add_cifar", {"width": 4, "stage_sizes": (3,)}),
    "preact": ("preresnet20_cifar", {"width": 4, "stage_sizes": (3,)}),
    "preact bottleneck": ("preresnet164_cifar", {"width": 4, "stage_sizes": (3,)}),
    "bottleneck, attention, dilated": ("seresnet50", {"width": 8, "stage_sizes": (1, 3), "output_stride": 4}),
    "selective": ("skresnet50", {"width": 8, "stage_sizes": (3,)}),
    "group norm, standardized": (
        "resnetv2_50x1_bit",
        {"width": 32, "stage_sizes": (3,)},
    ),
}
FAST_TO_COMPILE = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
MODES: dict[str, dict[str, Any]] = {
    "scan": {"scan": True},
    "remat": {"remat": True},
    "both": {"scan": True, "remat": True},
}


def toy(kind, **modes):
    name, options = TOYS[kind]
    return create_model(name, num_classes=5).clone(**options, **modes)


def batch(size=8):
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(4, size, size, 3)), jnp.float32), jnp.arange(4)


def step(model, variables, images, labels, rngs=None):
    """Features, gradients and updated statistics of one training step."""

    def loss(params):
        outputs, updates = model.apply(
            {**variables, "params": params}, images, train=True, features=True, mutable=["batch_stats"], rngs=rngs
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs["logits"], labels)
        return losses.mean(), (outputs, updates)

    (_, (outputs, updates)), gradients = jax.value_and_grad(loss, has_aux=True)(variables["params"])
    return outputs, gradients, updates


def assert_same(got, expected, tolerance=1e-5):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    scale = max(1.0, *(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected)))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale)


def random_variables(model, images):
    """Values that hide nothing: no scale is zero, no variance tiny. Drawn by numpy, which has nothing to compile."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    rng = np.random.default_rng(1)
    draw = lambda leaf: jnp.asarray(rng.uniform(0.1, 0.5, leaf.shape) * rng.choice([-1, 1], leaf.shape), leaf.dtype)  # noqa: E731
    variables = jax.tree.map(draw, shapes)
    return {
        collection: jax.tree.map(jnp.abs, v) if collection == "batch_stats" else v
        for collection, v in variables.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "mode"), [("basic", "scan"), ("basic", "remat"), *((kind, "both") for kind in TOYS)])
def test_scanned_and_recomputed_networks_equal_the_unrolled(kind, mode):
    images, labels = batch()
    unrolled, other = toy(kind), toy(kind, **MODES[mode])
    variables = random_variables(unrolled, images)
    run = partial(jax.jit, compiler_options=FAST_TO_COMPILE)
    expected = run(lambda v: step(unrolled, v, images, labels))(variables)
    assert_same(run(lambda v: step(other, v, images, labels))(variables), expected)


def test_scanned_networks_start_with_the_same_values():
    images, _ = batch()
    models = [toy("preact", zero_init=True, **mode) for mode in ({}, MODES["both"])]
    values = [jax.jit(model.init)(jax.random.key(3), images) for model in models]
    for other in values[1:]:
        assert jax.tree.structure(other) == jax.tree.structure(values[0])
        jax.tree.map(np.testing.assert_array_equal, other, values[0])


@pytest.mark.slow
def test_the_loop_does_not_grow_with_the_depth():
    def convolutions(depth, **modes):
        model = create_model(f"resnet{depth}_cifar", width=4, **modes)
        images, labels = batch(8)
        variables = jax.eval_shape(lambda key: model.init(key, images), jax.random.key(0))
        program = jax.jit(lambda v: step(model, v, images, labels)).lower(variables).as_text()
        return program.count("stablehlo.convolution")

    assert convolutions(32, scan=True) == convolutions(20, scan=True)
    assert convolutions(32, scan=True, remat=True) == convolutions(20, scan=True, remat=True)
    assert convolutions(20) > convolutions(20, scan=True)


@pytest.mark.parametrize("mode", MODES)
def test_stochastic_depth_leaves_out_later_blocks_more_often(mode):
    """A dropped block is its shortcut, so with one stage of identity shortcuts each example shows what was left out."""
    options: dict[str, Any] = {"stage_sizes": (5,), "width": 4, "stochastic_depth": 0.8, "norm": "frozen"}
    model = create_model("resnet8_cifar").clone(**options, **MODES[mode])
    images = jnp.ones((512, 4, 4, 3))
    variables = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), jax.eval_shape(model.init, jax.random.key(0), images))
    # The running variance is 0 everywhere: a branch adds its last bias alone. Block i adds 10^i.
    params = variables["params"]
    for index in range(5):
        params[f"stage1_block0{index + 1}"]["norm2"]["bias"] = jnp.full(4, 10.0**index)

    def first_channel(variables, key):
        outputs: Any = model.apply(variables, images, train=True, features=True, rngs={"dropout": key})
        return outputs["pooled"][:, 0]

    pooled = jax.jit(first_channel)(variables, jax.random.key(1))
    kept = np.zeros((512, 5))
    rest = np.asarray(pooled, np.float64)
    for index in reversed(range(5)):
        weight = 10.0**index / (1 - 0.2 * index)
        kept[:, index] = rest > weight * 0.9
        rest = rest - weight * kept[:, index]
    np.testing.assert_allclose(rest, 0, atol=0.05)
    np.testing.assert_allclose(kept.mean(axis=0), [1, 0.8, 0.6, 0.4, 0.2], atol=0.08)
    assert abs(np.corrcoef(kept[:, 1:].T) - np.eye(4)).max() < 0.2  # each block draws for itself


def test_evaluation_needs_no_keys_and_changes_nothing():
    images, _ = batch()
    model = toy("basic", scan=True, remat=True)
    variables = random_variables(toy("basic"), images)
    logits, updates = model.apply(variables, images, mutable=["batch_stats"])
    assert_same(updates["batch_stats"], variables["batch_stats"], tolerance=0)
    assert_same(logits, toy("basic").apply(variables, images))
