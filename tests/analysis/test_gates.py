from typing import Any

import jax
import numpy as np
import pytest

from resnet_jax.analysis.gates import gate_values
from resnet_jax.errors import InputError
from resnet_jax.models.highway import Highway

from .toys import random_examples, random_variables, toy


def test_gates_are_the_sigmoids_of_what_the_gate_layers_compute():
    model: Any = Highway((2, 1), (4, 6), num_classes=3)
    variables, (images, _) = random_variables(model), random_examples(5)
    gates = gate_values(model, variables, images, batch_size=2)
    assert gates.names == ("stage1_block01", "stage1_block02", "stage2_block01")
    got: Any
    _, got = model.apply(variables, images, capture_intermediates=True, mutable=["intermediates"])
    for name, bias, activity, spread in zip(gates.names, gates.bias, gates.activity, gates.spread, strict=True):
        np.testing.assert_array_equal(bias, variables["params"][name]["gate"]["bias"])
        values = np.asarray(jax.nn.sigmoid(got["intermediates"][name]["gate"]["__call__"][0]))
        np.testing.assert_allclose(activity, values.mean(axis=(0, 1, 2)), rtol=1e-5)
        np.testing.assert_allclose(spread, values.std(axis=(0, 1, 2)), rtol=1e-3)


def test_gated_shortcuts_of_residual_networks_are_gates_too():
    model = toy(merge="exclusive_gate")
    gates = gate_values(model, random_variables(model), random_examples(2)[0])
    assert [len(bias) for bias in gates.bias] == [4, 4, 8, 8]


def test_a_network_without_gates_is_refused():
    model = toy()
    with pytest.raises(InputError, match="ResNet has no gates"):
        gate_values(model, random_variables(model), random_examples(2)[0])
