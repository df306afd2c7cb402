"""Torch's names and axes: the table of every family, both ways, and what it says of tensors that do not fit."""

import re

import jax
import numpy as np
import pytest

from resnet_jax.errors import InputError
from resnet_jax.models.registry import list_models
from resnet_jax.weights.rules import FAMILIES, rules_for
from resnet_jax.weights.shapes import variable_shapes
from resnet_jax.weights.torch_layout import to_torch, torch_name
from tests.weights.reading import from_torch

from .conftest import assert_equal_trees


@pytest.mark.parametrize(
    ("model", "ours", "theirs"),
    [
        ("resnet50", "params/stem_conv/kernel", "conv1.weight"),
        ("resnet50", "batch_stats/stem_norm/var", "bn1.running_var"),
        ("resnet50", "params/stage3_block06/conv3/kernel", "layer3.5.conv3.weight"),
        ("resnet50", "params/stage4_block01/norm_proj/scale", "layer4.0.downsample.1.weight"),
        ("resnet50", "params/stage4_block01/conv_proj/kernel", "layer4.0.downsample.0.weight"),
        ("resnet50", "params/head/bias", "fc.bias"),
        ("resnet1202_cifar", "batch_stats/stage2_block200/norm2/mean", "layer2.199.bn2.running_mean"),
        ("resnet20_cifar", "params/head/kernel", "linear.weight"),
        ("resnet20_cifar", "params/stage2_block01/conv_proj/kernel", "layer2.0.shortcut.0.weight"),
    ],
)
def test_names(model, ours, theirs):
    assert torch_name(tuple(ours.split("/")), rules_for(model)) == theirs


def test_axes(random_variables):
    variables = random_variables("resnet8_cifar")
    tensors = to_torch(variables, rules_for("resnet8_cifar"))
    kernel = variables["params"]["stage2_block01"]["conv1"]["kernel"]
    assert tensors["layer2.0.conv1.weight"].shape == (32, 16, 3, 3)
    assert tensors["layer2.0.conv1.weight"][5, 7, 2, 1] == kernel[2, 1, 7, 5]
    np.testing.assert_array_equal(tensors["linear.weight"], variables["params"]["head"]["kernel"].T)


def test_the_round_trip_keeps_every_bit(random_variables):
    rules = rules_for("resnet8_cifar")
    variables = random_variables("resnet8_cifar")
    tensors = to_torch(variables, rules)
    assert_equal_trees(from_torch(tensors, variables, rules), variables)
    counters = {name for name in tensors if name.endswith("num_batches_tracked")}
    assert len(counters) == 7
    assert all(tensors[name].dtype == np.int64 and tensors[name] == 0 for name in counters)


@pytest.mark.slow
@pytest.mark.parametrize("model", [name for name in list_models() if "1202" not in name])
def test_no_two_leaves_share_a_name(model):
    try:
        rules = rules_for(model)
    except InputError:
        pytest.skip(f"{model} has no torch layout")
    shapes = variable_shapes(model, None)
    names = [torch_name(tuple(k.key for k in path), rules) for path, _ in jax.tree_util.tree_leaves_with_path(shapes)]
    assert len(set(names)) == len(names)
    assert not [name for name in names if re.search(r"/|stage\d|conv_proj|head_norm", name)]


def test_what_does_not_fit_is_listed_and_counted(random_variables):
    rules = rules_for("resnet8_cifar")
    variables = random_variables("resnet8_cifar")
    tensors = to_torch(variables, rules)
    for n in (1, 2, 3):
        del tensors[f"layer{n}.0.bn1.weight"], tensors[f"layer{n}.0.bn1.bias"]
    tensors["extra"] = np.zeros(3)
    tensors["linear.weight"] = tensors["linear.weight"][:7]
    with pytest.raises(InputError) as error:
        from_torch(tensors, variables, rules)
    missing, unknown, shaped = str(error.value).split("; ")
    assert missing.startswith("6 missing: layer1.0.bn1.")
    assert missing.endswith("and 1 more")
    assert unknown == "1 unknown: extra"
    assert shaped == "1 of another shape: linear.weight [7, 64] where the network has [10, 64]"


def test_a_network_without_a_torch_layout_says_so():
    with pytest.raises(InputError, match="has no torch layout"):
        rules_for("highway19_cifar")


def test_every_family_has_a_network():
    import re

    for pattern in FAMILIES:
        assert any(re.fullmatch(pattern, name) for name in list_models()), pattern
