"""Networks without their normalizations give what they gave."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax import create_model
from resnet_jax.inference.fold_batch_norm import fold_batch_norm, foldable
from resnet_jax.models.counts import abstract_variables

SIZE = 32


def some_values(shapes):
    """Variables with statistics, scales and biases unlike those of a fresh network; made without compiling anything."""
    rng = np.random.default_rng(0)

    def some(path, leaf):
        noise = rng.normal(size=leaf.shape).astype(np.float32)
        if path[-1].key in ("var", "scale"):
            return 0.5 + np.abs(noise)
        return noise / np.sqrt(max(1, leaf.size // leaf.shape[-1]))

    return jax.tree_util.tree_map_with_path(some, shapes)


def network(name, dtype=jnp.float32, **options):
    model: Any = create_model(name, num_classes=5, dtype=dtype).clone(**options)
    images = np.random.default_rng(1).normal(size=(2, SIZE, SIZE, 3)).astype(np.float32)
    return model, some_values(abstract_variables(model, SIZE)), images


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "left"),
    [
        ("resnet8_cifar", {}, 0),
        ("resnet14_cifar", {"scan": True, "remat": True}, 0),
        ("resnet50", {"width": 8, "stage_sizes": (1, 1)}, 0),
        ("seresnet50", {"width": 8, "stage_sizes": (1,)}, 0),
        ("preresnet164_cifar", {"stage_sizes": (1, 1, 1)}, 4),
        ("preresnet8_cifar", {}, 4),  # the first of every block, and the head's
        ("densenet40_cifar", {"stage_sizes": (1, 2)}, 5),  # what they read is a concatenation
    ],
)
def test_the_folded_network_is_the_same(name, options, left):
    model, variables, images = network(name, **options)
    expected = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, images)
    apply, folded = fold_batch_norm(model, variables, SIZE)
    np.testing.assert_allclose(jax.jit(apply)(folded, images), expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    statistics = [path for path, _ in jax.tree_util.tree_leaves_with_path(folded["batch_stats"])]
    assert len(statistics) == 2 * left


def test_what_has_other_readers_is_not_folded():
    model, variables, _ = network("preresnet8_cifar")
    pairs = foldable(model, variables, SIZE)
    # The stem's convolution feeds the first normalization, and the first shortcut besides.
    assert ("stage1_block01", "norm2") in pairs
    assert ("stage1_block01", "norm1") not in pairs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"), [("resnet8_cifar", {}), ("preresnet164_cifar", {"stage_sizes": (1, 1, 1)})]
)
def test_features_and_other_sizes(name, options):
    model, variables, images = network(name, **options)
    apply, folded = fold_batch_norm(model, variables, SIZE)
    expected = model.apply(variables, images[:, :24, :16], train=False, features=True)
    features = apply(folded, images[:, :24, :16], features=True)
    assert list(features) == list(expected)
    for feature, values in expected.items():
        np.testing.assert_allclose(features[feature], values, rtol=0, atol=2e-5 * np.abs(values).max(), err_msg=feature)


@pytest.mark.slow
def test_bfloat16_stays_bfloat16():
    model, variables, images = network("resnet8_cifar", dtype=jnp.bfloat16)
    apply, folded = fold_batch_norm(model, variables, SIZE)
    features = apply(folded, images, features=True)
    assert features["stage1"].dtype == jnp.bfloat16
    expected = np.asarray(model.apply(variables, images, train=False))
    assert np.abs(features["logits"] - expected).max() < 0.05 * np.abs(expected).max()
