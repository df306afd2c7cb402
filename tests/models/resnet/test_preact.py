"""Pre-activation networks and the variants of He et al. 2016, against plain numpy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.errors import InputError
from resnet_jax.models.build import check_classifier
from resnet_jax.models.registry import create_model
from resnet_jax.models.resnet.blocks import BasicBlock, PreActBasicBlock, PreActBottleneck, ReorderedBlock
from resnet_jax.models.resnet.resnet import ResNet
from tests.models.numpy_layers import conv, dense, normalize, relu, sigmoid
from tests.models.test_numpy_references import compare, random_images

TOY = {"num_classes": 3, "width": 4, "stem": "cifar"}


def parts(params, stats, name):
    """A block's convolutions and normalizations as functions."""
    p, s = params[name], stats[name]

    def convolve(x, layer, strides=1):
        kernel = p[layer]["kernel"]
        return conv(x, kernel, p[layer].get("bias", 0.0))[:, ::strides, ::strides]

    return convolve, lambda x, layer: normalize(x, p[layer], s[layer]), p


def zero_pad(x, channels):
    extra = channels - x.shape[-1]
    return np.pad(x, ((0, 0), (0, 0), (0, 0), (extra // 2, extra - extra // 2)))


def head(x, params):
    pooled = x.mean((1, 2))
    return {"pooled": pooled, "logits": dense(pooled, params["head"])}


@pytest.mark.parametrize("block", [PreActBasicBlock, PreActBottleneck])
def test_a_pre_activation_network(block):
    def reference(params, stats, x):
        x = conv(x, **params["stem_conv"])
        expected = {"stem": x}
        for stage in (1, 2):
            for index in (1, 2):
                convolve, norm, p = parts(params, stats, f"stage{stage}_block{index:02d}")
                strides = 2 if (stage, index) == (2, 1) else 1
                active = relu(norm(x, "norm1"))
                shortcut = convolve(active, "conv_proj", strides) if "conv_proj" in p else x
                if block is PreActBasicBlock:
                    y = convolve(relu(norm(convolve(active, "conv1", strides), "norm2")), "conv2")
                else:
                    y = convolve(relu(norm(convolve(active, "conv1"), "norm2")), "conv2", strides)
                    y = convolve(relu(norm(y, "norm3")), "conv3")
                x = shortcut + y
            expected[f"stage{stage}"] = x
        return expected | head(relu(normalize(x, params["head_norm"], stats["head_norm"])), params)

    compare(ResNet((2, 2), block, preact=True, shortcut="bare", **TOY), random_images(8), reference)


@pytest.mark.parametrize("merge", ["constant", "exclusive_gate", "shortcut_gate", "dropout"])
def test_the_shortcuts_of_table_1(merge):
    def reference(params, stats, x):
        x = relu(normalize(conv(x, **params["stem_conv"]), params["stem_norm"], stats["stem_norm"]))
        for stage in (1, 2):
            strides = stage
            convolve, norm, _ = parts(params, stats, f"stage{stage}_block01")
            y = relu(norm(convolve(x, "conv1", strides), "norm1"))
            y = norm(convolve(y, "conv2"), "norm2")
            shortcut = zero_pad(x[:, ::strides, ::strides], y.shape[-1])
            if merge == "constant":
                x = 0.5 * shortcut + 0.5 * y
            elif merge == "dropout":  # in evaluation, the sum
                x = shortcut + y
            else:
                g = sigmoid(convolve(x, "gate", strides))
                x = (1 - g) * shortcut + (g * y if merge == "exclusive_gate" else y)
            x = relu(x)
        return head(x, params)

    model = create_model("resnet8_cifar", merge=merge).clone(stage_sizes=(1, 1), **TOY)
    compare(model, random_images(8), reference)


@pytest.mark.parametrize("order", ["norm_after_add", "relu_before_add", "relu_first"])
def test_the_orders_of_table_2(order):
    def reference(params, stats, x):
        x = relu(normalize(conv(x, **params["stem_conv"]), params["stem_norm"], stats["stem_norm"]))
        for stage in (1, 2):
            convolve, norm, _ = parts(params, stats, f"stage{stage}_block01")
            y = relu(x) if order == "relu_first" else x
            y = convolve(relu(norm(convolve(y, "conv1", stage), "norm1")), "conv2")
            shortcut = zero_pad(x[:, ::stage, ::stage], y.shape[-1])
            if order == "norm_after_add":
                x = relu(norm(shortcut + y, "norm2"))
            else:
                y = norm(y, "norm2")
                x = shortcut + (relu(y) if order == "relu_before_add" else y)
        return head(relu(x), params)

    def block(**settings):
        return ReorderedBlock(order=order, **settings)

    compare(ResNet((1, 1), block, shortcut="A", **TOY), random_images(8), reference)


@pytest.mark.slow
def test_dropout_on_the_shortcut_draws_in_training():
    model = create_model("resnet8_cifar", merge="dropout", width=4)
    images = jnp.asarray(random_images(8))
    variables = model.init(jax.random.key(0), images)

    def logits(seed):
        apply = model.apply(
            variables, images, train=True, mutable=["batch_stats"], rngs={"dropout": jax.random.key(seed)}
        )
        return apply[0]

    assert jnp.array_equal(logits(1), logits(1))
    assert not jnp.array_equal(logits(1), logits(2))


@pytest.mark.slow
def test_the_rate_of_stochastic_depth_rises_to_the_last_block():
    model = create_model("resnet8_cifar", stochastic_depth=1.0 - 1e-9, width=4)
    images = jnp.asarray(random_images(8))
    variables = model.init(jax.random.key(0), images)
    outputs: Any = model.apply(
        variables, images, train=True, features=True, mutable=["batch_stats"], rngs={"dropout": jax.random.key(0)}
    )[0]
    alone = zero_pad(np.asarray(outputs["stage2"])[:, ::2, ::2], 16)
    np.testing.assert_allclose(outputs["stage3"], alone, rtol=1e-6)


@pytest.mark.slow
def test_frozen_normalization_changes_neither_statistics_nor_scales():
    model = create_model("resnet8_cifar", norm="frozen", width=4)
    images = jnp.asarray(random_images(8))
    variables: Any = model.init(jax.random.key(0), images)

    def loss(params):
        logits, updates = model.apply(variables | {"params": params}, images, train=True, mutable=["batch_stats"])
        return jnp.square(logits).sum(), updates

    gradients, updates = jax.grad(loss, has_aux=True)(variables["params"])
    jax.tree.map(np.testing.assert_array_equal, updates["batch_stats"], variables["batch_stats"])
    assert not np.any(gradients["stage1_block01"]["norm1"]["scale"])
    assert np.any(gradients["stage1_block01"]["conv1"]["kernel"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["resnet8_cifar", "preresnet8_cifar", "preresnet164_cifar", "resnet110_relu_first_cifar"]
)
def test_a_branch_that_starts_at_zero_does_not_stay_there(name):
    model = create_model(name, zero_init=True, width=4).clone(stage_sizes=(1, 1, 1))
    images = jnp.asarray(random_images(8))
    variables: Any = model.init(jax.random.key(0), images)

    def loss(params):
        logits, _ = model.apply(variables | {"params": params}, images, train=True, mutable=["batch_stats"])
        return jnp.square(logits - 1).sum()

    gradients = jax.grad(loss)(variables["params"])
    for block in (name for name in gradients if name.startswith("stage")):
        assert any(np.any(leaf) for leaf in jax.tree.leaves(gradients[block])), block


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet110_norm_after_add_cifar", {"zero_init": True}, "zero for ever"),
        ("resnet20_cifar", {"zero_init": True, "norm": "frozen"}, "norm='frozen' would keep the zero scales for ever"),
        ("resnetv2_50x1_bit", {"zero_init": True}, "standardized kernel"),
        ("resnet20_cifar", {"merge": "constant", "shortcut": "none"}, "needs a shortcut"),
        ("resnet20_cifar", {"norm": "group"}, "multiples of 32"),
        ("wrn16_4_cifar", {"norm": "group"}, r"multiples of 32 channels, not \[16\]"),  # of the stem
        ("resnet20_cifar", {"stochastic_depth": 1.0}, "below 1"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(name, options, message):
    with pytest.raises(InputError, match=message):
        create_model(name, **options)


def test_channels_that_32_groups_do_not_divide_are_refused_within_blocks_too():
    with pytest.raises(InputError, match=r"^--model=skresnet50 at 32 pixels: .*32.* does not divide .*8"):
        check_classifier(create_model("skresnet50", norm="group"), "skresnet50", 32)


def test_a_block_of_ones_own_has_the_fields_that_a_network_gives_it():
    """And no others: the network asks it for nothing when it is created."""

    def block(*, filters, strides, name=None, **parts):
        return BasicBlock(filters, strides, name=name, **parts)

    model = ResNet((1, 1), block, num_classes=3, width=4)
    logits, _ = jax.eval_shape(lambda x: model.init_with_output(jax.random.key(0), x), jnp.zeros((2, 16, 16, 3)))
    assert logits.shape == (2, 3)


@pytest.mark.parametrize("merge", ["exclusive_gate", "shortcut_gate"])
def test_a_gate_strides_where_one_side_of_the_image_is_a_single_pixel(merge):
    model = create_model("resnet8_cifar", merge=merge)
    shape = jax.eval_shape(lambda x: model.init_with_output(jax.random.key(0), x)[0], jnp.zeros((1, 2, 16, 3)))
    assert shape.shape == (1, 10)
