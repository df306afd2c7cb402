from typing import Any

import jax
import numpy as np
import pytest
from flax import linen as nn

from resnet_jax.analysis.gradients import gradient_norms
from resnet_jax.layers.conv import Conv
from resnet_jax.models.highway import Highway

from .toys import random_examples, random_variables, toy


class TwoLayers(nn.Module):
    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        x = nn.relu(Conv(4, 3, name="stem_conv")(images))
        return Conv(3, 1, name="last_conv")(x).mean(axis=(1, 2))


def test_norms_are_those_of_the_gradient_of_the_mean_cross_entropy():
    model: Any = TwoLayers()
    images, labels = random_examples(4)
    variables = random_variables(model)

    def loss(params):
        logits = model.apply({"params": params}, images)
        return -jax.nn.log_softmax(logits)[np.arange(4), labels].mean()

    expected = {k: float(np.linalg.norm(v["kernel"])) for k, v in jax.grad(loss)(variables["params"]).items()}
    assert gradient_norms(model, variables, images, labels) == pytest.approx(
        {"stem_conv": expected["stem_conv"], "last_conv": expected["last_conv"]}, rel=1e-5
    )


def test_the_network_runs_as_in_training():
    """Normalized by its batch, a network passes the same gradient on whatever its running statistics are."""
    model, (images, labels) = toy(stage_sizes=(1,)), random_examples(4)
    variables = random_variables(model)
    doubled = {**variables, "batch_stats": jax.tree.map(lambda s: 2 * s, variables["batch_stats"])}
    norms = gradient_norms(model, variables, images, labels)
    assert list(norms) == ["stem_conv", "stage1_block01/conv1", "stage1_block01/conv2"]
    assert min(norms.values()) > 0
    assert gradient_norms(model, doubled, images, labels) == norms


def test_gates_and_dropout_need_nothing_from_the_caller():
    model: Any = Highway((1, 1), (4, 4), num_classes=3)
    norms = gradient_norms(model, random_variables(model), *random_examples(2))
    names = ["stem_conv", "stage1_block01/conv1", "stage2_conv", "stage2_block01/conv1", "head_conv"]
    assert list(norms) == names
