"""Published parameter and multiply-add counts of the ResNet family; test_zoo_counts.py has the other networks'."""

from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from resnet_jax.models.counts import abstract_variables, multiply_adds, parameter_count
from resnet_jax.models.registry import create_model

ROOT = Path(__file__).parents[2]

# ImageNet: `num_params` of torchvision's documentation (pytorch.org/vision/stable/models.html); v1 moves a stride and
# no parameter. Plain: without the three projections of resnet18/34, which are 64*128 + 128*256 + 256*512 weights and
# 2 * (128 + 256 + 512) scales and biases, 173,824 in all.
# CIFAR (He et al. 2015, table 6, prints 0.27M, 0.46M, 0.66M, 0.85M, 1.7M, 19.4M): option A adds no parameter, so with
# n blocks a stage, 6n + 2 layers, and 9*c*d + 2*d for each convolution from c to d filters with its normalization,
#   stem 464, stage 1: 2n * 2336, stage 2: 4672 + (2n - 1) * 9280, stage 3: 18560 + (2n - 1) * 36992, head 650,
# together 97,216 n - 21,926; a plain network has as many.
PARAMETERS = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet50_v1": 25_557_032,
    "resnet101_v1": 44_549_160,
    "resnet152_v1": 60_192_808,
    "plain18": 11_515_688,
    "plain34": 21_623_848,
    "resnet8_cifar": 75_290,
    "resnet20_cifar": 269_722,
    "resnet32_cifar": 464_154,
    "resnet44_cifar": 658_586,
    "resnet56_cifar": 853_018,
    "resnet110_cifar": 1_727_962,
    "resnet1202_cifar": 19_421_274,
    "plain8_cifar": 75_290,
    "plain20_cifar": 269_722,
    "plain32_cifar": 464_154,
    "plain44_cifar": 658_586,
    "plain56_cifar": 853_018,
    "plain110_cifar": 1_727_962,
    # torchvision's documentation.
    "resnext50_32x4d": 25_028_904,
    "resnext101_32x8d": 88_791_336,
    "resnext101_64x4d": 83_455_272,
    "wide_resnet50_2": 68_883_240,
    "wide_resnet101_2": 126_886_696,
    # timm 1.0, which prints them in millions; the exact numbers follow from its architectures (tests/parity).
    "resnet18d": 11_708_744,
    "resnet26d": 16_014_408,
    "resnet34d": 21_816_904,
    "resnet50d": 25_576_264,
    "resnet101d": 44_568_392,
    "resnet152d": 60_212_040,
    "resnet26t": 16_011_872,
    "resnet50t": 25_573_728,
    "seresnet50": 28_088_024,
    "seresnet152d": 66_841_080,
    "ecaresnet50d": 25_576_350,
    "skresnet50": 25_803_160,
    "resnetblur50": 25_557_032,
    "resnetrs50": 35_691_912,
    "resnetrs101": 63_618_696,
    "resnetv2_50": 25_549_352,
    "resnetv2_50x1_bit": 25_549_352,
    # He et al. 2016 prints 1.7M for 110 and 164 layers and 10.2M for 1001; Zagoruyko and Komodakis 2016 36.5M. A gate
    # is a 1x1 convolution with bias in each of the 54 blocks, option C one with normalization.
    "preresnet20_cifar": 269_722,
    "preresnet56_cifar": 853_018,
    "preresnet110_cifar": 1_727_962,
    "preresnet164_cifar": 1_703_258,
    "preresnet1001_cifar": 10_327_706,
    "wrn28_10_cifar": 36_479_194,
    "resnet110_constant_cifar": 1_727_962,
    "resnet110_conv_cifar": 1_826_202,
    "resnet110_dropout_cifar": 1_727_962,
    "resnet110_exclusive_gate_cifar": 1_727_962 + 96_224,
    "resnet110_shortcut_gate_cifar": 1_727_962 + 96_224,
    "resnet110_norm_after_add_cifar": 1_727_962,
    "resnet110_relu_before_add_cifar": 1_727_962,
    "resnet110_relu_first_cifar": 1_727_962,
}


def parameters_of(name: str, **options) -> int:
    return parameter_count(abstract_variables(create_model(name, **options), 32)["params"])


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_a_network_has_the_published_number_of_parameters(name):
    # That docs/models.md says what is built is tests/test_models_table.py's: tracing 1,202 layers twice takes long.
    assert f"| {name} | {PARAMETERS[name]:,} |" in (ROOT / "docs" / "models.md").read_text()


# Option B adds projections 16 -> 32 (16*32 + 2*32) and 32 -> 64 (32*64 + 2*64): 2,752 to option A.
# Option C projects every block besides: n - 1 times d*d + 2*d for d = 32, 64, and n times for d = 16.
@pytest.mark.parametrize(
    ("name", "shortcut", "count"),
    [
        ("resnet20_cifar", "B", 272_474),
        pytest.param("resnet110_cifar", "B", 1_730_714, marks=pytest.mark.slow),  # as resnet20_cifar, and longer
        ("resnet20_cifar", "C", 272_474 + 2 * (32 * 34 + 64 * 66) + 3 * 16 * 18),
    ],
)
def test_projections_add_their_own_parameters(name, shortcut, count):
    assert parameters_of(name, shortcut=shortcut) == count


@cache
def multiply_adds_at_224(name: str) -> int:
    return multiply_adds(create_model(name), 224)


# torchvision's `_ops` (GFLOPS of its tables, which are multiply-adds) at 224 pixels; v1.5 throughout. Slow is what has
# more blocks of the same kind.
@pytest.mark.parametrize(
    ("name", "giga"),
    [
        ("resnet18", 1.814),
        ("resnet34", 3.664),
        ("resnet50", 4.089),
        pytest.param("resnet101", 7.801, marks=pytest.mark.slow),
        pytest.param("resnet152", 11.514, marks=pytest.mark.slow),
    ],
)
def test_a_network_costs_the_published_multiply_adds(name, giga):
    assert round(multiply_adds_at_224(name) / 1e9, 3) == giga


def test_the_stride_on_the_first_1x1_is_cheaper_as_published():
    # In the first block of stages 2, 3 and 4 conv1, from c to c / 2 channels, runs on a quarter of the pixels;
    # He et al. 2015, table 1, prints 3.8e9 for the rest.
    saved = sum(3 * (pixels // 2) ** 2 * c * c // 2 for pixels, c in [(56, 256), (28, 512), (14, 1024)])
    assert round(multiply_adds_at_224("resnet50_v1") / 1e9, 1) == 3.9
    assert multiply_adds_at_224("resnet50") - multiply_adds_at_224("resnet50_v1") == saved


def test_resnet20_for_cifar_costs_40_55_million_multiply_adds():
    stem, head = 32**2 * 9 * 3 * 16, 64 * 10
    stage1 = 6 * 32**2 * 9 * 16 * 16
    stage2 = 16**2 * 9 * (16 * 32 + 5 * 32 * 32)
    stage3 = 8**2 * 9 * (32 * 64 + 5 * 64 * 64)
    assert multiply_adds(create_model("resnet20_cifar"), 32) == stem + stage1 + stage2 + stage3 + head == 40_551_040


class ScannedDense(nn.Module):
    length: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        kernel = self.param("kernel", nn.initializers.ones, (3, 3))
        return jax.lax.scan(lambda x, _: (jax.jit(jnp.dot)(x, kernel), None), x, length=self.length)[0]


def test_a_scanned_layer_counts_as_often_as_it_runs():
    once = 8 * 8 * 3 * 3
    assert [multiply_adds(ScannedDense(length), 8) for length in (1, 7)] == [once, 7 * once]


class GroupedConv(nn.Module):
    groups: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = nn.Conv(12, (1, 1), use_bias=False)(x)
        return nn.Conv(24, (3, 3), feature_group_count=self.groups, use_bias=False)(x)


def test_a_grouped_convolution_costs_its_share():
    pointwise, dense = 8 * 8 * 3 * 12, 8 * 8 * 9 * 12 * 24
    assert multiply_adds(GroupedConv(4), 8) == pointwise + dense // 4


def test_counts_do_not_depend_on_the_machine(monkeypatch):
    ours = multiply_adds(create_model("resnet18"), 64)
    monkeypatch.setenv("RESNET_JAX_FORMS", "space_to_depth,matrix_product")  # as on GPUs
    assert multiply_adds(create_model("resnet18"), 64) == ours


def test_resizing_is_no_multiply_add_of_a_layer():
    model = create_model("unet_resnet8_cifar")
    # The decoder's 3x3 convolutions at 8, 16, 16 and 16 pixels, of what is below and the stage beside it; and the head.
    at_8, at_16 = 96 * 128 + 128 * 128, (144 * 64 + 64 * 64) + (80 * 32 + 32 * 32) + (32 * 16 + 16 * 16) + 16
    decoder = 9 * (8 * 8 * at_8 + 16 * 16 * at_16)
    assert multiply_adds(model, 16) - multiply_adds(model.backbone(), 16) == decoder
