"""The shortcuts of He et al. 2015: what they add, and which parameters they own."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.layers.conv import Conv
from resnet_jax.layers.norm import BatchNorm
from resnet_jax.models.resnet.blocks import BasicBlock
from resnet_jax.models.resnet.resnet import ResNet
from resnet_jax.models.resnet.shortcuts import SHORTCUTS, zero_pad


def block(shortcut: str, filters: int, strides: int) -> BasicBlock:
    norm = partial(BatchNorm, use_running_average=True)
    return BasicBlock(filters, strides, conv=Conv, norm=norm, shortcut=SHORTCUTS[shortcut])


def test_zero_padding_puts_half_of_the_new_channels_before_and_half_behind():
    x = jnp.arange(2 * 4 * 4 * 3, dtype=jnp.float32).reshape(2, 4, 4, 3) + 1
    y = zero_pad(x, 8, 2, conv=Conv, norm=BatchNorm)  # five new channels: two before, three behind
    assert y.shape == (2, 2, 2, 8)
    np.testing.assert_array_equal(y[..., 2:5], np.asarray(x)[:, ::2, ::2])
    assert not y[..., :2].any()
    assert not y[..., 5:].any()


def test_zero_padding_is_the_identity_where_the_shape_stays():
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))
    np.testing.assert_array_equal(zero_pad(x, 3, 1, conv=Conv, norm=BatchNorm), x)


CONVOLUTIONS = {"conv1", "norm1", "conv2", "norm2"}


@pytest.mark.parametrize(
    ("shortcut", "filters", "strides", "projects"),
    [
        ("none", 8, 2, False),
        ("A", 8, 2, False),
        ("B", 4, 1, False),
        ("B", 8, 1, True),
        ("B", 4, 2, True),
        ("C", 4, 1, True),
        ("C", 8, 2, True),
    ],
)
def test_only_b_on_a_change_and_c_everywhere_own_a_projection(shortcut, filters, strides, projects):
    x = jax.ShapeDtypeStruct((1, 8, 8, 4), jnp.float32)
    params = jax.eval_shape(block(shortcut, filters, strides).init, jax.random.key(0), x)["params"]
    assert set(params) == CONVOLUTIONS | ({"conv_proj", "norm_proj"} if projects else set())
    if projects:
        assert params["conv_proj"]["kernel"].shape == (1, 1, 4, filters)


def toy(shortcut: str) -> ResNet:
    return ResNet((2, 2), BasicBlock, num_classes=3, width=4, stem="cifar", shortcut=shortcut)


def test_a_plain_network_is_the_residual_one_without_the_addition():
    """With the same parameters, what differs is `relu(y + x)` against `relu(y)` in every block."""
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    plain: Any = toy("none")
    residual: Any = toy("A")
    variables = jax.jit(plain.init)(jax.random.key(1, impl="unsafe_rbg"), x)  # compiles in a tenth of the time
    shapes = jax.eval_shape(residual.init, jax.random.key(1), x)
    assert jax.tree.structure(shapes) == jax.tree.structure(variables)

    @partial(jax.jit, static_argnums=0)
    def intermediates(model, x):
        _, got = model.apply(variables, x, capture_intermediates=True, mutable=["intermediates"])
        return got["intermediates"]

    for model in (plain, residual):
        inner = intermediates(model, x)
        block_input = jax.nn.relu(inner["stem_norm"]["__call__"][0])
        for name, filters, strides in [
            ("stage1_block01", 4, 1),
            ("stage1_block02", 4, 1),
            ("stage2_block01", 8, 2),
            ("stage2_block02", 8, 1),
        ]:
            branch = inner[name]["norm2"]["__call__"][0]
            if model is residual:
                branch = branch + zero_pad(block_input, filters, strides, Conv, BatchNorm)
            block_input = inner[name]["__call__"][0]
            np.testing.assert_allclose(block_input, jax.nn.relu(branch), rtol=1e-5, atol=1e-5)
    assert jnp.abs(plain.apply(variables, x) - residual.apply(variables, x)).max() > 1e-3
