"""Networks from a config: a recipe's wishes, and what no training can have."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from resnet_jax.config.options import Config
from resnet_jax.errors import InputError
from resnet_jax.models.build import build_model, check_batch_norm, check_classifier, check_examples_survive
from resnet_jax.models.registry import create_model


@pytest.mark.parametrize(
    ("options", "zero_init"),
    [
        ({"model": "resnet20_cifar"}, True),
        ({"model": "resnet20_cifar", "norm": "frozen"}, False),  # zero scales that never change: a dead branch
        ({"model": "plain20_cifar"}, False),
        ({"model": "resnetv2_50x1_bit"}, False),
        ({"model": "resnet110_norm_after_add_cifar"}, False),
        ({"model": "resnet110_relu_first_cifar"}, True),
    ],
)
def test_zero_init_is_left_out_where_a_branch_could_not_leave_zero(options, zero_init):
    model: Any = build_model(Config(zero_init=True, **options), 10)
    assert model.zero_init is zero_init


@pytest.mark.parametrize(("name", "zero_init"), [("unet_resnet18", True), ("unet_plain18", False)])
def test_wishes_of_a_network_for_dense_prediction_are_its_encoders(name, zero_init):
    model: Any = build_model(Config(model=name, zero_init=True, blur_strides=True), 3)
    encoder = model.backbone()
    assert (encoder.zero_init, encoder.blur_strides) == (zero_init, True)


@pytest.mark.parametrize("name", ["plain34", "plain20_cifar", "unet_plain18"])
def test_stochastic_depth_needs_shortcuts(name):
    config = Config(model=name, stochastic_depth=0.1)
    with pytest.raises(InputError, match=f"erases whole examples in {name}, which has no shortcuts; take"):
        check_examples_survive(build_model(config, 3), config)
    for other in (replace(config, model="resnet18"), replace(config, stochastic_depth=0.0)):
        check_examples_survive(build_model(other, 3), other)


def test_groups_of_no_channels_are_refused():
    with pytest.raises(InputError, match="groups of 4 channels at width 64 have none at width 8"):
        check_classifier(create_model("resnext50_32x4d", width=8), "resnext50_32x4d", 64)


def test_wishes_that_a_network_does_not_have_are_left_out():
    assert not hasattr(build_model(Config(model="unet_vgg11", zero_init=True, blur_strides=True), 3), "zero_init")


@pytest.mark.parametrize(
    ("name", "image_size"),
    [("alexnet", 62), ("vgg11", 31), ("densenet121", 28), ("googlenet", 8), ("highway19_cifar", 3)],
)
def test_images_that_are_too_small_for_a_network_are_refused(name, image_size):
    with pytest.raises(InputError, match="images are too small"):
        check_classifier(create_model(name), name, image_size)


@pytest.mark.parametrize("name", ["unet", "unet_vgg11", "unet_resnet8_cifar"])
def test_networks_for_dense_prediction_take_small_pictures(name):
    model = create_model(name, num_classes=2)
    logits = jax.eval_shape(lambda x: model.init_with_output(jax.random.key(0), x)[0], jnp.zeros((1, 17, 40, 3)))
    assert logits.shape == (1, 17, 40, 2)


@pytest.mark.parametrize(("name", "image_size"), [("unet_vgg11", 15), ("fcn_alexnet", 30), ("fcn_vgg11", 15)])
def test_pictures_of_which_an_encoder_leaves_nothing_are_refused(name, image_size):
    model = create_model(name, num_classes=2)
    with pytest.raises(InputError, match="images are too small"):
        jax.eval_shape(lambda x: model.init(jax.random.key(0), x), jnp.zeros((1, image_size, 64, 3)))


@pytest.mark.parametrize(("name", "image_size"), [("alexnet", 63), ("vgg11", 32), ("densenet121", 29)])
def test_the_smallest_images_that_a_network_takes_are_accepted(name, image_size):
    check_classifier(create_model(name), name, image_size)


ONE_IMAGE = Config(model="resnet18", batch_size=1)


@pytest.mark.parametrize(
    ("changes", "image_size", "message"),
    [
        ({}, 32, "^--batch_size=1 leaves resnet18 at 32 pixels one value per channel .*take --batch_size=2 or more"),
        ({"batch_size": 8, "accumulate": 8}, 32, "^--batch_size=8 --accumulate=8 leaves .*take --accumulate=4 or less"),
        ({"batch_size": 8, "bn_group_size": 1}, 32, "^--bn_group_size=1 leaves .*take --bn_group_size=2 or more, or 0"),
        ({"model": "skresnet50"}, 224, "^--batch_size=1 leaves skresnet50 at 224 pixels"),  # it pools within a block
        ({"scan": True}, 32, "^--batch_size=1 leaves resnet18"),
    ],
)
def test_a_training_on_single_values_per_channel_is_refused(changes, image_size, message):
    config = replace(ONE_IMAGE, **changes)
    with pytest.raises(InputError, match=message) as refusal:
        check_batch_norm(build_model(config, 10), config, image_size)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "image_size"),
    [
        ({}, 64),  # 2 x 2 pixels
        ({"batch_size": 2}, 32),
        ({"batch_size": 8, "accumulate": 4}, 32),
        ({"batch_size": 8, "accumulate": 8, "bn_group_size": 0}, 64),
        ({"model": "skresnet50", "batch_size": 2}, 32),
        ({"model": "resnet20_cifar"}, 32),
        ({"model": "resnet18", "norm": "group"}, 32),
        ({"model": "vgg11"}, 32),
    ],
)
def test_a_training_with_several_values_per_channel_is_accepted(changes, image_size):
    config = replace(ONE_IMAGE, **changes)
    check_batch_norm(build_model(config, 10), config, image_size)
