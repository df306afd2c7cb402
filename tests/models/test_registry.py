"""Networks by name: what is known, what is refused, and how helpful the refusal is."""

import jax
import jax.numpy as jnp
import pytest

from resnet_jax.errors import InputError
from resnet_jax.models.registry import MODELS, create_model, list_models


def test_depths_are_listed_in_the_order_of_numbers():
    names = list_models()
    assert sorted(names) == sorted(MODELS)
    assert names.index("resnet8_cifar") < names.index("resnet20_cifar") < names.index("resnet110_cifar")


@pytest.mark.parametrize(
    ("name", "helpful"),
    [
        ("resnet51", "did you mean .*resnet50"),
        ("resnet-50", "did you mean .*resnet50"),
        ("zzz", "known are .*resnet20_cifar"),
        ("resnet21_cifar", r"6n \+ 2 layers .*not 21"),
        ("plain9_cifar", r"6n \+ 2 layers .*not 9"),
        ("resnet2_cifar", r"6n \+ 2 layers .*not 2"),
    ],
)
def test_an_unknown_network_is_refused_with_a_way_on(name, helpful):
    with pytest.raises(InputError, match=helpful) as refusal:
        create_model(name)
    assert name in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_unknown_option_is_refused_by_name():
    with pytest.raises(InputError, match=r"resnet18 has no option bn_groupsize; leave it out"):
        create_model("resnet18", bn_groupsize=32)


@pytest.mark.parametrize(("name", "layers"), [("resnet14_cifar", 14), ("plain26_cifar", 26)])
def test_a_cifar_network_of_any_6n_plus_2_layers_is_built_though_unlisted(name, layers):
    assert name not in MODELS
    variables = jax.eval_shape(create_model(name).init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    kernels = [leaf for leaf in jax.tree.leaves(variables["params"]) if leaf.ndim > 1]
    assert len(kernels) == layers


@pytest.mark.parametrize(("name", "classes"), [("resnet18", 1000), ("resnet20_cifar", 10), ("plain8_cifar", 10)])
def test_the_head_is_as_wide_as_the_familys_data_set_unless_told(name, classes):
    images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)

    def width(model):
        return jax.eval_shape(lambda x: model.init_with_output(jax.random.key(0), x)[0], images).shape

    assert width(create_model(name)) == (2, classes)
    assert width(create_model(name, num_classes=7)) == (2, 7)
