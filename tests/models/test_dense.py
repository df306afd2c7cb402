"""Networks for dense prediction on any classifier, their skips, and their decoders by themselves."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.errors import InputError
from resnet_jax.models.registry import backbone_name, create_model

SLOW = pytest.param("unet_densenet121", marks=pytest.mark.slow)
TOYS = ["unet_resnet8_cifar", "fcn_resnet8_cifar", "unet_preresnet20_cifar", "unet_vgg11_bn", SLOW]


def shapes(name, **options):
    model = create_model(name, num_classes=3, **options)
    return model, jax.eval_shape(lambda key: model.init(key, jnp.zeros((1, 64, 96, 3))), jax.random.key(0))


@pytest.mark.parametrize("name", TOYS)
def test_any_classifier_can_be_the_encoder(name):
    model, variables = shapes(name)
    logits = jax.eval_shape(lambda v: model.apply(v, jnp.zeros((2, 65, 99, 3))), variables)
    assert logits.shape == (2, 65, 99, 3)
    encoder = create_model(backbone_name(name), num_classes=0)
    own = jax.eval_shape(lambda key: encoder.init(key, jnp.zeros((1, 64, 96, 3))), jax.random.key(0))
    assert jax.tree.structure(variables["params"]["backbone"]) == jax.tree.structure(own["params"])


def test_names_of_no_classifier_are_refused():
    assert [backbone_name(n) for n in ("unet_resnet18", "fcn_vgg16", "unet", "resnet18")] == [
        "resnet18",
        "vgg16",
        "",
        "",
    ]
    for name in ("unet_resnet19", "fcn_unet_resnet18", "unet_unet"):
        with pytest.raises(InputError, match="there is no such network"):
            create_model(name)


def test_options_that_the_decoder_does_not_have_are_the_encoders():
    model, variables = shapes("unet_resnet18", norm="group", output_stride=16)
    assert "backbone" not in variables["batch_stats"]
    stages = jax.eval_shape(lambda v: model.apply(v, jnp.zeros((1, 64, 96, 3)), features=True), variables)
    assert stages["stage4"].shape == (1, 4, 6, 512)
    with pytest.raises(InputError, match="unet_resnet18 has no option sauce; leave it out"):
        create_model("unet_resnet18", sauce=True)


def test_an_encoder_without_normalization_has_no_groups_of_examples():
    model, variables = shapes("unet_alexnet", bn_group_size=2)  # of the decoder's normalizations
    logits = jax.eval_shape(
        lambda v: model.apply(v, jnp.zeros((4, 64, 96, 3)), train=True, mutable=["batch_stats"])[0], variables
    )
    assert logits.shape == (4, 64, 96, 3)


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_the_output_stride_is_the_last_stages(stride):
    model, variables = shapes("fcn_resnet18", output_stride=stride)
    stages = jax.eval_shape(lambda v: model.apply(v, jnp.zeros((1, 64, 96, 3)), features=True), variables)
    assert stages["stage4"].shape[1:3] == (64 // stride, 96 // stride)


def test_fcn_has_torchvisions_stride_and_weight_of_the_auxiliary_loss():
    model, variables = shapes("fcn_resnet18")
    stages = jax.eval_shape(lambda v: model.apply(v, jnp.zeros((1, 64, 96, 3)), features=True), variables)
    assert stages["stage4"].shape[1:3] == (8, 12)
    assert model.aux_weight == 0.5


@pytest.mark.slow
def test_skips_decide_what_the_logits_depend_on():
    """Without skips the logits are those of the last stage alone; with them, also of the finer ones."""
    for skips, reads in (("concat", True), ("add", True), ("none", False)):
        model: Any = create_model("unet_resnet8_cifar", num_classes=2, skips=skips, width=4)
        variables = model.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
        stages: Any = model.apply(variables, jax.random.normal(jax.random.key(1), (1, 16, 16, 3)), features=True)
        decoder = model.decoder()
        own = {kind: {n: v for n, v in tree.items() if n != "backbone"} for kind, tree in variables.items()}
        logits = decoder.apply(own, {n: stages[n] for n in decoder.reads(stages)}, (16, 16))["logits"]
        np.testing.assert_allclose(logits, stages["logits"], atol=1e-6)
        changed = {n: stages[n] + (n == "stem") for n in decoder.reads(stages)}
        other = decoder.apply(own, changed, (16, 16))["logits"]
        assert bool(jnp.allclose(other, logits)) != reads


def test_an_unknown_kind_of_skips_is_refused():
    with pytest.raises(InputError, match="skips='sum' is none of concat, add, none"):
        create_model("unet_resnet18", skips="sum")
