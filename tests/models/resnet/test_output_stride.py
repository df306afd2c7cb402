"""Dilation instead of strides: the same network at a finer resolution."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from resnet_jax.analysis.capture import apply_watched, name_of
from resnet_jax.errors import InputError
from resnet_jax.layers.blurring import blur, blur_pool, mean_of_pairs
from resnet_jax.layers.conv import Conv
from resnet_jax.models.registry import create_model
from resnet_jax.models.resnet.blocks import BasicBlock, Bottleneck
from resnet_jax.models.resnet.resnet import ResNet


@pytest.mark.slow
@pytest.mark.parametrize(
    ("block", "shortcut", "output_stride", "image_size"),
    [
        *((block, "B", s, size) for block in (BasicBlock, Bottleneck) for s in (4, 8, 16) for size in (64, 75)),
        *(
            (block, "D", 8, 75)
            for block in (BasicBlock, partial(BasicBlock, blur=True), partial(Bottleneck, blur=True))
        ),
    ],
)
def test_the_strided_network_s_values_are_among_the_dilated_one_s(block, shortcut, output_stride, image_size):
    images = np.random.default_rng(0).normal(size=(1, image_size, image_size, 3)).astype(np.float32)
    strided = ResNet((1, 1, 2, 2), block, 0, width=4, shortcut=shortcut)
    dilated = strided.clone(output_stride=output_stride)
    variables = strided.init(jax.random.key(0), images)
    coarse: Any = strided.apply(variables, images, features=True)
    fine: Any = dilated.apply(variables, images, features=True)
    for stage, stride in {"stage1": 4, "stage2": 8, "stage3": 16, "stage4": 32}.items():
        step = max(1, stride // output_stride)
        assert fine[stage].shape[1] == -(-image_size // min(stride, output_stride))
        np.testing.assert_allclose(fine[stage][:, ::step, ::step], coarse[stage], rtol=1e-4, atol=1e-5, err_msg=stage)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 12, 13])
@pytest.mark.parametrize("distance", [1, 2, 4])
def test_pairs_and_blurs_without_a_stride_hold_those_with_one(distance, size):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, size, size, 2)), jnp.float32)
    coarse = x[:, ::distance, ::distance]
    np.testing.assert_allclose(blur(x, distance)[:, :: 2 * distance, :: 2 * distance], blur_pool(coarse), atol=1e-6)
    odd = coarse.shape[1] % 2
    means = nn.avg_pool(coarse, (2, 2), (2, 2), ((0, odd), (0, odd)), count_include_pad=False)
    np.testing.assert_allclose(mean_of_pairs(x, distance)[:, :: 2 * distance, :: 2 * distance], means, atol=1e-6)


def test_the_convolutions_of_a_selective_kernel_are_dilated_too():
    model = create_model("skresnet50", num_classes=3, width=8, output_stride=8)
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
    found: dict[str, int] = {}

    def watch(module, arguments, output):
        if isinstance(module, Conv) and "path" in name_of(module):
            found[name_of(module)] = module.dilation

    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    jax.eval_shape(lambda v, x: apply_watched(model, v, x, watch).shape, variables, images)
    paths = {
        f"{block}/conv2/path{k}_conv": k * dilation
        for block, dilation in {
            "stage2_block04": 1,
            "stage3_block01": 1,
            "stage3_block02": 2,
            "stage4_block01": 2,
            "stage4_block02": 4,
        }.items()
        for k in (1, 2)
    }
    assert paths.items() <= found.items()


def test_blurred_strides_have_no_dilated_form():
    with pytest.raises(InputError, match="blur_strides has no dilated form"):
        create_model("resnet50", blur_strides=True, output_stride=8)


def test_an_output_stride_below_the_stem_s_is_refused():
    with pytest.raises(InputError, match="stem alone has 4"):
        create_model("resnet18", output_stride=2)
