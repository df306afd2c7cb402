"""ONNX files against the networks that they were written from."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from resnet_jax.errors import InputError
from resnet_jax.export.onnx import to_onnx
from resnet_jax.export.run_onnx import logits_of
from resnet_jax.layers.conv import Conv
from resnet_jax.layers.norm import BatchNorm
from resnet_jax.models.counts import abstract_variables, parameter_count
from resnet_jax.models.registry import create_model, list_models
from tests.models.short import network, short_and_full
from tests.random_variables import random_variables

MOST_PARAMETERS = 60e6
KINDS = [p.values for p in short_and_full(list_models(), blocks=1) if not p.marks or "-short" in str(p.id)]
SLOW = pytest.mark.slow
TOYS = [
    ("resnet8_cifar", {}),
    ("resnet8_cifar", {"norm": "group", "width": 32}),
    ("resnet8_cifar", {"merge": "exclusive_gate"}),
    pytest.param("resnet8_cifar", {"merge": "constant"}, marks=SLOW),
    pytest.param("resnet8_cifar", {"stem": "deep", "shortcut": "D"}, marks=SLOW),
    pytest.param("unet_resnet8_cifar", {}, marks=SLOW),
    pytest.param("fcn_resnet8_cifar", {}, marks=SLOW),
    pytest.param("unet", {"width": 4, "batch_norm": True}, marks=SLOW),
]


def difference(model, size=32, batch=2):
    """Greatest difference of the file's logits, as a share of the largest, and the operators that it has."""
    variables = random_variables(model, size)
    images = np.random.default_rng(1).normal(size=(batch, size, size, 3)).astype(np.float32)
    proto = to_onnx(model, variables, (size, size))
    found = logits_of(proto.SerializeToString(), images.transpose(0, 3, 1, 2))
    expected = np.asarray(jax.jit(model.apply)(variables, images))
    return np.abs(found - expected).max() / np.abs(expected).max(), Counter(n.op_type for n in proto.graph.node)


@pytest.mark.parametrize(("name", "options"), TOYS)
def test_a_file_computes_what_its_network_does(name, options):
    share, operators = difference(create_model(name, num_classes=5, **options), 17 if "shortcut" in options else 16)
    assert share < 1e-5
    assert not {"Transpose", "Reshape"} & set(operators)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "blocks"), KINDS)
def test_every_kind_of_network_can_be_written(name, blocks):
    if parameter_count(abstract_variables(network(name, blocks), 224)["params"]) > MOST_PARAMETERS:
        pytest.skip("its dense layers hold half a gigabyte")
    share, operators = difference(network(name, blocks, num_classes=10), 32 if name.endswith("_cifar") else 64)
    assert share < 1e-5
    assert not {"Transpose", "Reshape"} & set(operators)


@pytest.mark.slow
def test_the_graph_of_resnet50_has_no_operator_too_many():
    model = create_model("resnet50")
    operators = Counter(n.op_type for n in to_onnx(model, random_variables(model, 64), (224, 224)).graph.node)
    expected = {"Conv": 53, "MaxPool": 1, "Add": 16, "Relu": 49, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}
    assert operators == expected


class Branches(nn.Module):
    """A convolution that is read before its bias and behind it, by an affine chain, a gate and a concatenation."""

    @nn.compact
    def __call__(self, x, train=False):
        y = Conv(4, 3, name="conv")(x)
        normalized = BatchNorm(use_running_average=True, name="norm")(y)
        shared = y * 2 + 1
        z = jnp.concatenate([nn.relu(normalized), shared, nn.relu(shared), 1 - nn.sigmoid(y)], axis=-1)
        z = z * z.mean(axis=(1, 2), keepdims=True) + (y - 3).max(axis=-1, keepdims=True)
        return nn.Dense(3, name="head")(z.mean(axis=(1, 2)) / 7)


def test_what_several_read_is_changed_for_none_of_them():
    share, _ = difference(Branches(), 8)
    assert share < 1e-5


def biased(x, name="conv"):
    return Conv(4, 3, use_bias=True, name=name)(x)


CHANNELS = np.arange(4, dtype=np.float32).reshape(1, 1, 1, 4)

# What a rule could write wrongly: functions of images [B,8,8,3] to values of which the mean is taken.
TRAPS = {
    "two biased values appended": lambda x: jnp.concatenate([biased(x, "a"), biased(x, "b")], axis=-1),
    "two biased values stacked": lambda x: jnp.stack([biased(x, "a"), biased(x, "b")], axis=3).max(axis=3),
    "a biased value squared": lambda x: jnp.square(biased(x)),
    "a biased value to a power": lambda x: biased(x) ** 2,
    "a constant over a value": lambda x: 1.0 / (jnp.exp(biased(x)) + 1),
    "a number less a value": lambda x: 3 - biased(x),
    "a map less a value": lambda x: jnp.arange(64.0).reshape(1, 8, 8, 1) - biased(x),
    "a value over a map": lambda x: biased(x) / (1 + jnp.arange(64.0).reshape(1, 8, 8, 1)),
    "a repeated value pooled": lambda x: nn.avg_pool(
        jnp.broadcast_to(biased(x).mean((1, 2), keepdims=True), (x.shape[0], 8, 8, 4)), (3, 3), padding="SAME"
    ),
    "a repeated value appended": lambda x: jnp.concatenate(
        [biased(x), jnp.broadcast_to(biased(x, "b").mean((1, 2), keepdims=True), (x.shape[0], 8, 8, 4))], axis=-1
    ),
    "a mean padded": lambda x: Conv(2, 3, name="b")(
        jnp.pad(biased(x).mean((1, 2), keepdims=True), ((0, 0), (2, 2), (2, 2), (0, 0)))
    ),
    "rows times columns": lambda x: nn.sigmoid(
        biased(x).mean(1, keepdims=True) * biased(x, "b").mean(2, keepdims=True)
    ),
    "channels and pixels": lambda x: nn.sigmoid(
        biased(x).mean((1, 2), keepdims=True) + biased(x, "b").mean(3, keepdims=True)
    ),
    "the mean of a repeated value": lambda x: jnp.broadcast_to(
        biased(x).mean((1, 2), keepdims=True), (x.shape[0], 8, 8, 4)
    ).mean(axis=2, keepdims=True),
    "channels scaled, then one each": lambda x: biased(x).mean(3, keepdims=True) * CHANNELS,
    "a part of a part": lambda x: jax.lax.slice_in_dim(jnp.split(biased(x), 2, axis=-1)[1], 1, 7, 2, axis=1),
    "an axis divided": lambda x: biased(x).reshape(x.shape[0], 8, 8, 2, 2).max(axis=3),
    "an axis divided, and a part of it": lambda x: jax.lax.index_in_dim(
        nn.softmax(biased(x).mean((1, 2), keepdims=True).reshape(x.shape[0], 1, 1, 2, 2), axis=3), 1, 3, keepdims=False
    ),
    "a ReLU of a ReLU, and of its double": lambda x: (
        nn.relu(nn.relu(biased(x))) + nn.relu(nn.relu(biased(x, "b")) * -2)
    ),
    "the largest": lambda x: jnp.maximum(biased(x), CHANNELS),
    "recomputed": lambda x: jax.checkpoint(lambda y: jnp.tanh(y) * 2)(biased(x)),
    "an affine chain": lambda x: ((biased(x) * 2 + CHANNELS) / (1 + CHANNELS) - 1) * -3,
}


class Trap(nn.Module):
    """One of TRAPS, and a dense layer on its mean."""

    key: str

    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(3, name="head")(TRAPS[self.key](x).mean(axis=(1, 2)))


@pytest.mark.parametrize("key", TRAPS)
def test_a_rule_writes_what_the_primitive_computes(key):
    share, _ = difference(Trap(key), 8, batch=3)
    assert share < 1e-5


def test_the_batch_is_of_any_size():
    model = create_model("resnet8_cifar")
    proto = to_onnx(model, random_variables(model, 32), (32, 32))
    (image,), (logits,) = proto.graph.input, proto.graph.output
    assert image.type.tensor_type.shape.dim[0].dim_param == logits.type.tensor_type.shape.dim[0].dim_param == "batch"
    assert [d.dim_value for d in image.type.tensor_type.shape.dim[1:]] == [3, 32, 32]


class Looped(nn.Module):
    """A network with a loop."""

    @nn.compact
    def __call__(self, x, train=False):
        x = jax.lax.fori_loop(0, 3, lambda _, y: y * 2, x)
        return nn.Dense(3, name="head")(x.mean(axis=(1, 2)))


class Sorted(nn.Module):
    """A network with a primitive that no operator stands for."""

    @nn.compact
    def __call__(self, x, train=False):
        return jnp.sort(nn.Dense(3, name="head")(x.mean(axis=(1, 2))), axis=-1)


class Padded(nn.Module):
    """A network that appends zeros, which depend on no image."""

    @nn.compact
    def __call__(self, x, train=False):
        x = jnp.concatenate([x, jnp.zeros_like(x)], axis=-1)
        return nn.Dense(3, name="head")(x.mean(axis=(1, 2)))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Sorted(), "Sorted has the primitive sort"),
        (Looped(), "Looped.* has the primitive scan"),
        (Padded(), "Padded has constants beside values"),
    ],
)
def test_what_cannot_be_written_is_named(model, reason):
    with pytest.raises(InputError, match=rf"ONNX: {reason}, which the export cannot write"):
        to_onnx(model, random_variables(model, 8), (8, 8))
