"""The whole network: against a plain numpy one, and the promises of its options."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from resnet_jax.models.registry import create_model
from resnet_jax.models.resnet.blocks import BasicBlock, Bottleneck
from resnet_jax.models.resnet.resnet import ResNet

# Initial values in a test's own time: XLA takes seconds to compile the default generator for a dozen parameters.
FAST_KEY = jax.random.key(0, impl="unsafe_rbg")

BLOCKS = ["stage1_block01", "stage1_block02", "stage2_block01", "stage2_block02"]


def toy(block=BasicBlock, **options) -> ResNet:
    defaults: dict[str, Any] = {"num_classes": 3, "width": 4, "stem": "cifar"}
    return ResNet((2, 2), block, **(defaults | options))


def random_variables(model: ResNet, size: int, seed: int = 0):
    """Variables none of which is at its initial value, so that a forgotten one shows."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, size, size, 3)))

    def draw(path, leaf):
        if path[-1] in ("var", "scale"):
            return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        spread = np.sqrt(2 / np.prod(leaf.shape[:-1])) if path[-1] == "kernel" else 0.3
        return rng.normal(0, spread, leaf.shape).astype(np.float32)

    return unflatten_dict({path: draw(path, leaf) for path, leaf in flatten_dict(shapes).items()})


def reference_logits(variables, x: np.ndarray, stem: str, shortcut: str) -> np.ndarray:
    """A network of basic blocks in evaluation, in float64 numpy, with nothing shared with the package."""
    params, stats = variables["params"], variables["batch_stats"]
    x = x.astype(np.float64)

    def conv(x, kernel, strides) -> np.ndarray:
        k = kernel.shape[0]
        padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2), (0, 0)))
        height, width = ((n + 2 * (k // 2) - k) // strides + 1 for n in x.shape[1:3])
        y = np.zeros(())
        for i in range(k):
            for j in range(k):
                shifted = padded[:, i : i + strides * height : strides, j : j + strides * width : strides]
                y = y + shifted @ kernel[i, j].astype(np.float64)
        return y

    def norm(x, p, s):
        return (x - s["mean"]) / np.sqrt(s["var"].astype(np.float64) + 1e-5) * p["scale"] + p["bias"]

    def relu(x):
        return np.maximum(x, 0)

    x = conv(x, params["stem_conv"]["kernel"], 2 if stem == "imagenet" else 1)
    x = relu(norm(x, params["stem_norm"], stats["stem_norm"]))
    if stem == "imagenet":
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
        n = (x.shape[1] - 1) // 2 + 1
        corners = [padded[:, i : i + 2 * n : 2, j : j + 2 * n : 2] for i in range(3) for j in range(3)]
        x = np.max([c[:, :n, :n] for c in corners], axis=0)
    for name in BLOCKS:
        p, s = params[name], stats[name]
        strides = 2 if name == "stage2_block01" else 1
        y = relu(norm(conv(x, p["conv1"]["kernel"], strides), p["norm1"], s["norm1"]))
        y = norm(conv(y, p["conv2"]["kernel"], 1), p["norm2"], s["norm2"])
        if "conv_proj" in p:
            y = y + norm(conv(x, p["conv_proj"]["kernel"], strides), p["norm_proj"], s["norm_proj"])
        elif shortcut != "none":
            skipped, new = x[:, ::strides, ::strides], y.shape[-1] - x.shape[-1]
            y = y + np.pad(skipped, ((0, 0), (0, 0), (0, 0), (new // 2, new // 2)))
        x = relu(y)
    return x.mean(axis=(1, 2)) @ params["head"]["kernel"].astype(np.float64) + params["head"]["bias"]


@pytest.mark.parametrize(
    ("stem", "shortcut", "size"),
    [("cifar", "A", 8), ("cifar", "B", 9), ("cifar", "C", 8), ("cifar", "none", 8), ("imagenet", "B", 32)],
)
def test_a_network_of_basic_blocks_equals_plain_numpy(stem, shortcut, size):
    model = toy(stem=stem, shortcut=shortcut)
    variables = random_variables(model, size)
    x = np.random.default_rng(1).normal(size=(2, size, size, 3)).astype(np.float32)
    expected = reference_logits(variables, x, stem, shortcut)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(jax.jit(model.apply)(variables, x), expected, rtol=1e-4, atol=1e-4)


def intermediate_shapes(name: str, block: str) -> dict:
    """Output shapes of a block's layers at 64 pixels."""
    model = create_model(name, width=4)

    def intermediates(key, x):
        variables = model.init(key, x)
        _, got = model.apply(variables, x, capture_intermediates=True, mutable=["intermediates"])
        return got["intermediates"][block]

    got = jax.eval_shape(intermediates, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    return {layer: got[layer]["__call__"][0].shape[1] for layer in ("conv1", "conv2", "conv3", "conv_proj")}


def test_the_papers_bottleneck_strides_on_the_1x1_and_torchvisions_on_the_3x3():
    # Stage 2 takes 16 x 16 pixels to 8 x 8.
    strided = "stage2_block01"
    assert intermediate_shapes("resnet50", strided) == {"conv1": 16, "conv2": 8, "conv3": 8, "conv_proj": 8}
    assert intermediate_shapes("resnet50_v1", strided) == {"conv1": 8, "conv2": 8, "conv3": 8, "conv_proj": 8}


@pytest.mark.slow
@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
@pytest.mark.parametrize("zero_init", [True, False])
def test_zero_init_starts_every_block_as_its_shortcut(block, zero_init):
    model = toy(block, shortcut="B", zero_init=zero_init)

    @jax.jit
    def intermediates(key, x):
        variables = model.init(key, x)
        changes = ["intermediates", "batch_stats"]
        _, got = model.apply(variables, x, train=True, capture_intermediates=True, mutable=changes)
        return got["intermediates"]

    inner = intermediates(FAST_KEY, jax.random.normal(jax.random.key(1), (4, 8, 8, 3)))
    block_input = jax.nn.relu(inner["stem_norm"]["__call__"][0])
    for name in BLOCKS:
        shortcut = inner[name]["norm_proj"]["__call__"][0] if "norm_proj" in inner[name] else block_input
        block_input = inner[name]["__call__"][0]
        assert jnp.abs(block_input).max() > 0.1
        assert bool((block_input == jax.nn.relu(shortcut)).all()) is zero_init


def test_options_that_no_network_can_have_are_refused():
    with pytest.raises(ValueError, match="needs shortcuts"):
        toy(shortcut="none", zero_init=True)
    with pytest.raises(ValueError, match="shortcut='Z' is none of 'none', 'A', 'B', 'C'"):
        toy(shortcut="Z")
    with pytest.raises(ValueError, match="stem='big' is none of"):
        toy(stem="big")


@pytest.mark.parametrize(
    ("stem", "block", "shapes"),
    [
        ("cifar", BasicBlock, [(32, 32, 4), (32, 32, 4), (16, 16, 8), (8,), (3,)]),
        ("imagenet", Bottleneck, [(16, 16, 4), (8, 8, 16), (4, 4, 32), (32,), (3,)]),
    ],
)
def test_features_are_the_stem_each_stage_the_pooled_and_the_logits(stem, block, shapes):
    model = toy(block, stem=stem)
    images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    features = jax.eval_shape(partial(model.apply, features=True), variables, images)
    names = ["stem", "stage1", "stage2", "pooled", "logits"]
    assert {k: f.shape for k, f in features.items()} == {k: (2, *s) for k, s in zip(names, shapes, strict=True)}


def test_logits_are_the_last_of_the_features():
    model = toy()
    variables = random_variables(model, 8)
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    features = jax.jit(partial(model.apply, features=True))(variables, x)
    np.testing.assert_allclose(features["pooled"], features["stage2"].mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(features["logits"], jax.jit(model.apply)(variables, x), rtol=1e-5)


def test_under_bfloat16_only_the_activations_of_the_stages_are_bfloat16():
    model = toy(Bottleneck, stem="imagenet", dtype=jnp.bfloat16)
    images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    apply = partial(model.apply, train=True, features=True, mutable=["batch_stats"])
    features, updates = jax.eval_shape(apply, variables, images)
    assert {leaf.dtype for leaf in jax.tree.leaves((variables, updates))} == {jnp.dtype("float32")}
    half, full = jnp.dtype("bfloat16"), jnp.dtype("float32")
    expected = {"stem": half, "stage1": half, "stage2": half, "pooled": full, "logits": full}
    assert {name: f.dtype for name, f in features.items()} == expected


@pytest.mark.slow
def test_names_of_200_blocks_a_stage_sort_as_the_blocks_run():
    ran: list[str] = []

    def note(next_call, args, kwargs, context):
        if context.method_name == "__call__" and isinstance(context.module, BasicBlock):
            ran.append(str(context.module.name))
        return next_call(*args, **kwargs)

    model = ResNet((200, 3), BasicBlock, width=1, stem="cifar")  # ResNet-1202 has 200 in each stage
    with nn.intercept_methods(note):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 4, 4, 3)))
    assert len(ran) == 203
    assert ran == sorted(ran)
    assert (ran[0], ran[-1]) == ("stage1_block001", "stage2_block03")
