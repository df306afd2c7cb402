"""Every analysis of a scanned or rematerialized network gives what it gives of the unrolled one."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
from flax import linen as nn

from resnet_jax.analysis.activations import feature_maps, layer_responses, response_std
from resnet_jax.analysis.capture import blocks, main_convs, main_norms
from resnet_jax.analysis.gates import gate_values
from resnet_jax.analysis.grad_cam import grad_cam
from resnet_jax.analysis.gradients import gradient_norms
from resnet_jax.analysis.landscape import loss_line
from resnet_jax.analysis.lesions import error_by_number_removed, error_by_removed_block
from resnet_jax.analysis.parameters import first_filters, norm_scales, weight_histograms
from resnet_jax.analysis.path_lengths import path_lengths
from resnet_jax.analysis.permutations import error_by_swaps
from resnet_jax.models.highway import Highway
from resnet_jax.models.registry import create_model
from resnet_jax.models.resnet.scan import unrolled

from .toys import random_examples, random_variables, toy

# A stage of one block, and one of three of which scan runs two as one scan group, as in ResNet-20.
STAGES = (1, 3)
SMALL = toy(stage_sizes=STAGES)
GATED = toy(stage_sizes=STAGES, merge="exclusive_gate")
RANDOM = toy(stage_sizes=STAGES, stochastic_depth=0.5)
IMAGES, LABELS = random_examples(8)

ANALYSES: dict[str, tuple[Any, Callable[[nn.Module, Any], Any]]] = {
    "blocks": (SMALL, lambda m, v: blocks(m, v, IMAGES)),
    "convolutions": (SMALL, lambda m, v: main_convs(m, v, IMAGES)),
    "normalizations": (SMALL, lambda m, v: main_norms(m, v, IMAGES)),
    "responses": (SMALL, lambda m, v: jax.jit(partial(layer_responses, m))(v, IMAGES)),
    "response deviations": (SMALL, lambda m, v: response_std(m, v, IMAGES)),
    "feature maps": (SMALL, lambda m, v: feature_maps(m, v, IMAGES[0])),
    "loss": (SMALL, lambda m, v: vars(loss_line(m, v, IMAGES, LABELS, num_points=3))),
    "first filters": (SMALL, lambda m, v: first_filters(m, v, IMAGES)),
    "norm scales": (SMALL, lambda m, v: norm_scales(m, v, IMAGES)),
    "weight histograms": (SMALL, lambda m, v: vars(weight_histograms(m, v, IMAGES))),
    "gates": (GATED, lambda m, v: vars(gate_values(m, v, IMAGES))),
    "gradients": (RANDOM, lambda m, v: gradient_norms(m, v, IMAGES, LABELS)),
    "Grad-CAM": (SMALL, lambda m, v: vars(grad_cam(m, v, IMAGES))),
    "one block removed": (SMALL, lambda m, v: error_by_removed_block(m, v, IMAGES, LABELS)),
    "blocks removed": (SMALL, lambda m, v: error_by_number_removed(m, v, IMAGES, LABELS, numbers=(2,), samples=2)),
    "paths": (SMALL, lambda m, v: vars(path_lengths(m, v, IMAGES, LABELS, lengths=(0, 2, 4), samples=1))),
    "permutations": (SMALL, lambda m, v: vars(error_by_swaps(m, v, IMAGES, LABELS, swaps=(2,), samples=2))),
}


# Both options at once are what a quick run tries: each alone compiles every analysis twice more.
OPTIONS = [
    pytest.param({"scan": True, "remat": True}, id="scan, remat"),
    pytest.param({"scan": True}, id="scan", marks=pytest.mark.slow),
    pytest.param({"remat": True}, id="remat", marks=pytest.mark.slow),
]


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ANALYSES)
def test_an_analysis_does_not_depend_on_how_the_network_is_compiled(name, options):
    model, analysis = ANALYSES[name]
    variables = random_variables(model)
    expected = analysis(model, variables)
    found = analysis(model.clone(**options), variables)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_resnet20_has_nine_blocks_and_nineteen_convolutions_however_it_is_compiled():
    for options in ({}, {"scan": True}, {"remat": True}):
        model = create_model("resnet20_cifar", num_classes=3, width=4, **options)
        variables = random_variables(model)
        assert len(blocks(model, variables, IMAGES)) == 9
        assert len(main_convs(model, variables, IMAGES)) == 19
        assert len(error_by_removed_block(model, variables, IMAGES, LABELS)) == 10  # and the whole network


def test_a_network_around_a_backbone_is_unrolled_in_it():
    plain = create_model("unet_resnet18", num_classes=2, width=2, skips="add")
    compiled = create_model("unet_resnet18", num_classes=2, width=2, skips="add", scan=True, remat=True)
    backbone = unrolled(compiled).backbone(parent=None)
    assert not backbone.scan
    assert not backbone.remat
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), "float32")
    shapes = [jax.eval_shape(m.init, jax.random.key(0), images) for m in (plain, unrolled(compiled))]
    assert shapes[0] == shapes[1]
    assert unrolled(plain) is plain


def test_the_small_network_has_a_scan_group():
    assert SMALL.clone(scan=True).scan_groups()
    assert not SMALL.scan_groups()


def test_a_network_that_is_unrolled_already_is_left_as_it_is():
    highway = Highway((1, 1), (4, 8))
    assert unrolled(highway) is highway
    assert unrolled(SMALL) is SMALL
