"""Dilation instead of strides: the same network at a finer resolution."""

from typing import Any

import jax
import numpy as np
import pytest

from resnet_jax.errors import InputError
from resnet_jax.models.registry import create_model
from resnet_jax.models.resnet.blocks import BasicBlock, Bottleneck
from resnet_jax.models.resnet.resnet import ResNet


@pytest.mark.slow
@pytest.mark.parametrize("image_size", [64, 75])
@pytest.mark.parametrize("output_stride", [4, 8, 16])
@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_the_strided_network_s_values_are_among_the_dilated_one_s(block, output_stride, image_size):
    images = np.random.default_rng(0).normal(size=(1, image_size, image_size, 3)).astype(np.float32)
    strided = ResNet((1, 1, 2, 2), block, 0, width=4)
    dilated = strided.clone(output_stride=output_stride)
    variables = strided.init(jax.random.key(0), images)
    coarse: Any = strided.apply(variables, images, features=True)
    fine: Any = dilated.apply(variables, images, features=True)
    for stage, stride in {"stage1": 4, "stage2": 8, "stage3": 16, "stage4": 32}.items():
        step = max(1, stride // output_stride)
        assert fine[stage].shape[1] == -(-image_size // min(stride, output_stride))
        np.testing.assert_allclose(fine[stage][:, ::step, ::step], coarse[stage], rtol=1e-4, atol=1e-5, err_msg=stage)


def test_an_output_stride_below_the_stem_s_is_refused():
    with pytest.raises(InputError, match="stem alone has 4"):
        create_model("resnet18", output_stride=2)
