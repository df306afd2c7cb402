import jax
import numpy as np
import pytest

from resnet_jax.analysis.parameters import first_filters, norm_scales, weight_histograms
from resnet_jax.errors import InputError
from resnet_jax.models.counts import abstract_variables
from resnet_jax.models.highway import Highway
from resnet_jax.models.registry import create_model

from .toys import random_examples, random_variables, toy

IMAGES, _ = random_examples(1)


def test_filters_are_pictures_around_gray():
    model = toy(stage_sizes=(1,))
    variables = random_variables(model)
    variables["params"]["stem_conv"]["kernel"][..., 1] = 0
    filters = first_filters(model, variables, IMAGES)
    assert filters.shape == (4, 3, 3, 3)
    kernel = variables["params"]["stem_conv"]["kernel"]
    np.testing.assert_allclose(
        (filters[2] - 0.5) * 2 * np.abs(kernel[..., 2]).max(), kernel[..., 2], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(filters[1], 0.5)
    assert np.abs(filters[2] - 0.5).max() == pytest.approx(0.5)


def test_scales_come_in_the_order_of_the_layers():
    model = toy(stage_sizes=(1, 1), shortcut="B")
    variables = random_variables(model)
    scales = norm_scales(model, variables, IMAGES)
    assert list(scales) == ["stem_norm", *(f"stage{s}_block01/norm{i}" for s in (1, 2) for i in (1, 2))]
    np.testing.assert_array_equal(
        scales["stage2_block01/norm2"], variables["params"]["stage2_block01"]["norm2"]["scale"]
    )
    highway = Highway((1,), (4,))
    with pytest.raises(InputError, match="Highway has no normalization"):
        norm_scales(highway, random_variables(highway), IMAGES)


def test_a_network_without_scales_whose_first_filters_are_of_no_image_is_refused():
    """airbench's: its first layer whitens patches by kernels that are not parameters."""
    model = create_model("airbench94_cifar")
    variables = jax.tree.map(lambda leaf: np.zeros(leaf.shape), abstract_variables(model, 32))
    images = np.zeros((1, 32, 32, 3), np.float32)
    with pytest.raises(InputError, match="reads 24 channels; its filters are not images"):
        first_filters(model, variables, images)
    with pytest.raises(InputError, match="has no scale; give a network whose normalizations do"):
        norm_scales(model, variables, images)


def test_histograms_count_every_weight_in_units_of_its_start():
    model = toy(stage_sizes=(1,))
    variables = random_variables(model)
    # fan_out 3 * 3 * 4 = 36: the start's deviation is sqrt(2 / 36).
    variables["params"]["stem_conv"]["kernel"][:] = 1.5 * np.sqrt(2 / 36)
    variables["params"]["stem_conv"]["kernel"][0, 0, 0, 0] = -100
    found = weight_histograms(model, variables, IMAGES, num_bins=4, limit=2)
    assert found.names == ("stem_conv", "stage1_block01/conv1", "stage1_block01/conv2")
    np.testing.assert_array_equal(found.edges, [-2, -1, 0, 1, 2])
    np.testing.assert_allclose(found.share[0], [1 / 108, 0, 0, 107 / 108])
    np.testing.assert_allclose(found.share.sum(axis=1), 1)
