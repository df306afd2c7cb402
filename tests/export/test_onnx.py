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
from tests.export.toys import random_variables
from tests.models.short import network, short_and_full

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


def test_the_batch_is_of_any_size():
    model = create_model("resnet8_cifar")
    proto = to_onnx(model, random_variables(model, 32), (32, 32))
    (image,), (logits,) = proto.graph.input, proto.graph.output
    assert image.type.tensor_type.shape.dim[0].dim_param == logits.type.tensor_type.shape.dim[0].dim_param == "batch"
    assert [d.dim_value for d in image.type.tensor_type.shape.dim[1:]] == [3, 32, 32]


class Sorted(nn.Module):
    """A network with a primitive that no operator stands for."""

    @nn.compact
    def __call__(self, x, train=False):
        return jnp.sort(nn.Dense(3, name="head")(x.mean(axis=(1, 2))), axis=-1)


def test_what_cannot_be_written_is_named():
    with pytest.raises(InputError, match=r"ONNX: Sorted.* has the primitive sort, which the export cannot write"):
        to_onnx(Sorted(), random_variables(Sorted(), 8), (8, 8))
