"""Parameters and multiply-adds of the networks around ResNet, as published.

Sources: torchvision's table of weights (`num_params` and `_ops` of each weight's metadata, torchvision 0.28);
segmentation_models_pytorch 0.5 for `unet_resnet*`, with one class; the papers' rounded counts for the rest, beside
the exact ones that follow from their architectures.
"""

import jax
import jax.numpy as jnp
import pytest

from resnet_jax.models.counts import abstract_variables, multiply_adds, parameter_count
from resnet_jax.models.registry import create_model

TORCHVISION = {  # name: (parameters, multiply-adds in G at 224 pixels)
    "alexnet": (61_100_840, 0.714),
    "vgg11": (132_863_336, 7.609),
    "vgg11_bn": (132_868_840, 7.609),
    "vgg13": (133_047_848, 11.308),
    "vgg13_bn": (133_053_736, 11.308),
    "vgg16": (138_357_544, 15.47),
    "vgg16_bn": (138_365_992, 15.47),
    "vgg19": (143_667_240, 19.632),
    "vgg19_bn": (143_678_248, 19.632),
    "densenet121": (7_978_856, 2.834),
    "densenet161": (28_681_000, 7.728),
    "densenet169": (14_149_480, 3.36),
    "densenet201": (20_013_928, 4.291),
}

PAPERS = {  # name: (exact parameters, what the paper prints in millions, its decimals)
    "densenet40_cifar": (1_019_722, 1.0, 1),  # arXiv:1608.06993, table 2
    "densenet100bc_cifar": (769_162, 0.8, 1),
    "highway19_cifar": (2_256_838, 2.3, 1),  # arXiv:1507.06228, table 2
    "highway32_cifar": (1_255_270, 1.25, 2),
}


# What has more blocks of the same kind as another network of its table, and takes seconds to trace.
DEEPER = ("vgg19", "vgg19_bn", "densenet161", "densenet169", "densenet201", "fcn_resnet101")


def deeper_are_slow(names):
    return [pytest.param(name, marks=[pytest.mark.slow] * (name in DEEPER)) for name in names]


def parameters(name, image_size=224, **options):
    return parameter_count(abstract_variables(create_model(name, **options), image_size)["params"])


@pytest.mark.parametrize("name", deeper_are_slow(TORCHVISION))
def test_torchvision_s_counts(name):
    count, giga = TORCHVISION[name]
    assert parameters(name) == count
    assert multiply_adds(create_model(name), 224) / 1e9 == pytest.approx(giga, abs=6e-4)


@pytest.mark.parametrize("name", PAPERS)
def test_the_papers_counts(name):
    exact, millions, decimals = PAPERS[name]
    assert parameters(name, 32) == exact
    assert exact / 1e6 == pytest.approx(millions, abs=0.6 * 10**-decimals)


def test_googlenet():
    assert parameters("googlenet", aux_heads=False) == 6_624_904  # as published
    assert parameters("googlenet") == 13_004_888  # as torchvision builds it to be trained
    assert multiply_adds(create_model("googlenet"), 224) / 1e9 == pytest.approx(1.498, abs=6e-4)


FCN = {"fcn_resnet50": (35_322_218, 152.717), "fcn_resnet101": (54_314_346, 232.738)}


@pytest.mark.parametrize("name", deeper_are_slow(FCN))
def test_fcn(name):
    count, giga = FCN[name]
    assert parameters(name, 64) == count
    # Published at 520 pixels, with the auxiliary head, which we do not run in evaluation.
    auxiliary = 65 * 65 * (9 * 1024 * 256 + 256 * 21)
    assert (multiply_adds(create_model(name), 520) + auxiliary) / 1e9 == pytest.approx(giga, abs=6e-4)


def test_unet():
    # The paper prints no count; its table of layers has 31.0 million, in the form that it describes: gray images.
    image = jax.ShapeDtypeStruct((1, 32, 32, 1), jnp.float32)
    gray = jax.eval_shape(create_model("unet").init, jax.random.key(0), image)
    assert parameter_count(gray["params"]) == 31_030_658
    assert parameters("unet", 32) == 31_030_658 + 2 * 9 * 64


@pytest.mark.parametrize(("depth", "count"), [(18, 14_328_209), (34, 24_436_369), (50, 32_521_105)])
def test_unet_on_a_resnet(depth, count):
    assert parameters(f"unet_resnet{depth}", 64) == count
