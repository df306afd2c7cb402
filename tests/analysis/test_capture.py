"""Layers and blocks are found in the order in which they run, in every family."""

import jax
import jax.numpy as jnp
import pytest

from resnet_jax.analysis.capture import Block, blocks, main_convs, main_norms
from resnet_jax.errors import InputError
from resnet_jax.models.counts import abstract_variables
from resnet_jax.models.registry import create_model

from .toys import random_variables, toy


def images_of(size: int) -> jax.Array:
    return jnp.zeros((1, size, size, 3))


def test_layers_are_listed_as_they_run_without_what_runs_beside_them():
    model = toy(stage_sizes=(1, 1), shortcut="C", attention="se")
    variables = random_variables(model)
    convs = ("stem_conv", *(f"stage{s}_block01/conv{i}" for s in (1, 2) for i in (1, 2)))
    assert main_convs(model, variables, images_of(8)) == convs
    norms = ("stem_norm", *(f"stage{s}_block01/norm{i}" for s in (1, 2) for i in (1, 2)))
    assert main_norms(model, variables, images_of(8)) == norms


# Convolutions of the paper's count (the dense layer excluded, or counted as one where it is dense). The slow ones are
# as deep as ResNet-50 and join what toys and the others have: pre-activation and attention.
@pytest.mark.parametrize(
    ("name", "size", "count"),
    [
        ("resnet20_cifar", 32, 19),
        ("preresnet20_cifar", 32, 19),
        ("resnet50", 64, 49),
        pytest.param("resnetv2_50", 64, 49, marks=pytest.mark.slow),
        pytest.param("seresnet50", 64, 49, marks=pytest.mark.slow),
        ("highway19_cifar", 32, 18),
        ("vgg16_bn", 32, 13),
        ("densenet40_cifar", 32, 39),
    ],
)
def test_a_network_has_as_many_convolutions_as_its_name_says(name, size, count):
    model = create_model(name)
    assert len(main_convs(model, abstract_variables(model, size), images_of(size))) == count


def test_blocks_say_whether_something_runs_beside_them_and_whether_they_keep_the_shape():
    for shortcut, has in (("A", True), ("none", False)):
        model = toy(shortcut=shortcut)
        assert blocks(model, random_variables(model), images_of(8)) == (
            Block("stage1_block01", has, True),
            Block("stage1_block02", has, True),
            Block("stage2_block01", has, False),
            Block("stage2_block02", has, True),
        )
    assert Block("stage2_block02", True, True).stage == "stage2"


def test_a_network_without_blocks_is_refused():
    model = create_model("vgg11")
    with pytest.raises(InputError, match="VGG has no blocks"):
        blocks(model, abstract_variables(model, 32), images_of(32))
