"""Every network's parameters lie in layers that layer-wise rates and Muon know."""

import jax
import pytest

from resnet_jax import list_models
from resnet_jax.models.counts import abstract_variables
from resnet_jax.optim.muon import matrix_mask
from resnet_jax.optim.param_paths import by_path, layer_of
from tests.models.short import network, short_and_full


@pytest.mark.slow
@pytest.mark.parametrize(("name", "blocks"), short_and_full(list_models()))
def test_a_network_has_layers_and_matrices(name, blocks):
    params = abstract_variables(network(name, blocks), 32 if name.endswith("_cifar") else 224)["params"]
    assert len({layer_of(path) for path in by_path(params)}) > 2
    assert any(jax.tree.leaves(matrix_mask(params)))
