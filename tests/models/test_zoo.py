"""Every network of the zoo keeps its interface, checked on shapes alone."""

from dataclasses import fields
from functools import cache, partial

import jax
import jax.numpy as jnp
import pytest

from resnet_jax.models.registry import MODELS
from resnet_jax.models.unet import BackboneUNet
from tests.models.short import network, short_and_full

ZOO = [name for name in MODELS if "resnet" not in name.split("_")[0] and not name.startswith("plain")]
DENSE_PREDICTION = ("fcn", "unet")


def shapes(model, image_size=64, **call):
    """(outputs, variables) for two images, in training with a key for dropout."""
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    images = jax.ShapeDtypeStruct((2, image_size, image_size, 3), jnp.float32)
    return jax.eval_shape(lambda x: model.init_with_output(keys, x, **call), images)


@cache
def shapes_in_evaluation(name, blocks):
    return shapes(seven_classes(name, blocks), features=True)


def seven_classes(name, blocks):
    return network(name, blocks, num_classes=7, dtype=jnp.bfloat16)


def test_the_zoo_is_what_is_meant():
    assert {"alexnet", "vgg11_bn", "googlenet", "densenet40_cifar", "highway19_cifar", "fcn_resnet50", "unet"} <= set(
        ZOO
    )


@pytest.mark.slow
@pytest.mark.parametrize(("name", "blocks"), short_and_full(ZOO))
def test_features_hold_stem_stages_pooled_and_logits_in_their_types(name, blocks):
    outputs, variables = shapes_in_evaluation(name, blocks)
    stages = [key for key in outputs if key.startswith("stage")]
    assert stages == sorted(stages)
    assert {"stem", "stage1", "pooled", "logits"} <= set(outputs)
    assert outputs["logits"].dtype == jnp.float32
    assert all(outputs[stage].dtype == jnp.bfloat16 for stage in ["stem", *stages])
    assert outputs["logits"].shape == ((2, 64, 64, 7) if name.startswith(DENSE_PREDICTION) else (2, 7))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize(("name", "blocks"), short_and_full(ZOO))
def test_training_needs_no_other_parameters_and_gives_auxiliary_logits_where_there_are_heads(name, blocks):
    outputs, in_training = shapes(seven_classes(name, blocks), train=True, features=True)
    _, in_evaluation = shapes_in_evaluation(name, blocks)
    assert jax.tree.map(lambda leaf: leaf.shape, in_training) == jax.tree.map(lambda leaf: leaf.shape, in_evaluation)
    auxiliary = {"googlenet": ["aux1", "aux2"], "fcn_resnet50": ["aux1"], "fcn_resnet101": ["aux1"]}
    assert sorted(key for key in outputs if key.startswith("aux")) == auxiliary.get(name, [])
    assert all(outputs[key].shape == outputs["logits"].shape for key in auxiliary.get(name, []))


@pytest.mark.parametrize(
    ("name", "blocks"), short_and_full([name for name in MODELS if name.startswith(DENSE_PREDICTION)], blocks=1)
)
@pytest.mark.parametrize("image_size", [33, 50, 127])
def test_dense_prediction_has_logits_for_every_pixel_of_any_image(name, blocks, image_size):
    outputs, _ = shapes(network(name, blocks, num_classes=3), image_size)
    assert outputs.shape == (2, image_size, image_size, 3)


@pytest.mark.parametrize(
    ("name", "blocks"),
    short_and_full(["densenet121", "vgg11_bn", "googlenet", "alexnet", "highway19_cifar", "resnet20_cifar"]),
)
def test_a_u_net_stands_on_any_backbone(name, blocks):
    model = network(name, blocks, num_classes=0)
    options = {f.name: getattr(model, f.name) for f in fields(model) if f.name not in ("parent", "name")}
    backbone = partial(type(model), **options)
    stages = [key for key in shapes(backbone(), features=True)[0] if key.startswith("stage")]
    outputs, variables = shapes(BackboneUNet(backbone, 5, filters=(16,) * (len(stages) + 1)), 75, features=True)
    assert outputs["logits"].shape == (2, 75, 75, 5)
    assert not {"head", "aux1", "aux2"} & set(variables["params"]["backbone"])


@pytest.mark.parametrize(
    ("name", "blocks"), short_and_full(["alexnet", "vgg11", "googlenet", "densenet40_cifar", "highway19_cifar"])
)
def test_without_a_head_the_pooled_values_are_given(name, blocks):
    outputs, _ = shapes(network(name, blocks, num_classes=0), features=True)
    alone, _ = shapes(network(name, blocks, num_classes=0))
    assert "logits" not in outputs
    assert alone.shape == outputs["pooled"].shape
