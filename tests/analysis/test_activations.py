from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

from resnet_jax.analysis.activations import feature_maps, layer_responses, response_std
from resnet_jax.models.highway import Highway
from resnet_jax.models.resnet.blocks import Bottleneck, PreActBasicBlock

from .toys import random_examples, random_variables, toy


@partial(jax.jit, static_argnums=0)
def seen(model, variables, images):
    """The responses, and everything that flax captures in the same program."""

    def capture(variables, images):
        _, got = model.apply(variables, images, capture_intermediates=True, mutable=["intermediates"])
        return got["intermediates"]

    return layer_responses(model, variables, images), capture(variables, images)


@pytest.mark.parametrize(("block", "depth"), [("basic", 2), (Bottleneck, 3)])
def test_responses_lie_behind_the_normalization(block, depth):
    model = toy(stage_sizes=(1, 1), shortcut="B") if block == "basic" else toy(block, (1, 1), shortcut="B")
    variables, (images, _) = random_variables(model), random_examples(5)
    responses, inner = seen(model, variables, images)
    expected = {"stem_conv": inner["stem_norm"]["__call__"][0]}
    for stage in ("stage1_block01", "stage2_block01"):
        for index in range(1, depth + 1):
            expected[f"{stage}/conv{index}"] = inner[stage][f"norm{index}"]["__call__"][0]
    assert responses.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(responses[name], value)
    stds = response_std(model, variables, images, batch_size=2)
    assert list(stds) == list(expected)
    assert stds == pytest.approx({k: float(np.std(v)) for k, v in expected.items()}, rel=1e-4)


def test_a_convolution_that_nothing_normalizes_responds_itself():
    model = toy(PreActBasicBlock, (1, 1), preact=True)
    variables, (images, _) = random_variables(model), random_examples(2)
    responses, inner = seen(model, variables, images)
    inner = inner["stage2_block01"]
    np.testing.assert_array_equal(responses["stage2_block01/conv1"], inner["norm2"]["__call__"][0])
    np.testing.assert_array_equal(responses["stage2_block01/conv2"], inner["conv2"]["__call__"][0])


def test_a_network_without_normalization_responds_too():
    model: Any = Highway((1,), (4,), num_classes=3)
    stds = response_std(model, random_variables(model), random_examples(2)[0])
    assert list(stds) == ["stem_conv", "stage1_block01/conv1", "head_conv"]
    assert min(stds.values()) > 0


def test_in_training_responses_are_those_of_the_batch():
    model = toy(stage_sizes=(1,))
    variables, (images, _) = random_variables(model), random_examples(16)
    scale = variables["params"]["stem_norm"]["scale"]
    response = jax.jit(lambda v, x: layer_responses(model, v, x, train=True))(variables, images)["stem_conv"]
    np.testing.assert_allclose(np.std(response, axis=(0, 1, 2)), scale, rtol=1e-3)


def test_feature_maps_are_the_channels_with_the_largest_means():
    model = toy(stage_sizes=(1, 1))
    variables, (images, _) = random_variables(model), random_examples(1)
    outputs = model.apply(variables, images, train=False, features=True)
    found = feature_maps(model, variables, images[0], channels=3)
    assert list(found) == ["stem", "stage1", "stage2"]
    for name, maps in found.items():
        values = np.asarray(outputs[name][0])
        means = values.mean(axis=(0, 1))
        wanted = np.sort(means)[::-1][:3]
        np.testing.assert_allclose(maps.mean(axis=(1, 2)), wanted, rtol=1e-5)
        np.testing.assert_allclose(maps[0], values[..., means.argmax()], rtol=1e-5, atol=1e-5)
