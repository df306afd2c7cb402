"""Networks from a config: a recipe's wishes, and what no training can have."""

from dataclasses import replace
from typing import Any

import pytest

from resnet_jax.config.options import Config
from resnet_jax.errors import InputError
from resnet_jax.models.build import build_model, check_batch_norm


@pytest.mark.parametrize(
    ("options", "zero_init"),
    [
        ({"model": "resnet20_cifar"}, True),
        ({"model": "resnet20_cifar", "norm": "frozen"}, False),  # zero scales that never change: a dead branch
        ({"model": "plain20_cifar"}, False),
        ({"model": "resnetv2_50x1_bit"}, False),
    ],
)
def test_zero_init_is_left_out_where_a_branch_could_not_leave_zero(options, zero_init):
    model: Any = build_model(Config(zero_init=True, **options), 10)
    assert model.zero_init is zero_init


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
