"""Precise batch statistics against a plain loop over all values."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from PIL import Image

from resnet_jax.config.options import Config
from resnet_jax.data.build import build_source
from resnet_jax.data.preprocessing import Preprocessing
from resnet_jax.data.sources.source import example_digest
from resnet_jax.errors import InputError
from resnet_jax.evaluation.precise_bn import precise_batch_stats, with_precise_stats
from resnet_jax.inference.trained import Trained
from resnet_jax.layers.norm import BatchNorm
from resnet_jax.models.build import build_model

RNG = np.random.default_rng(0)


class Toy(nn.Module):
    """Two normalizations, with a nonlinearity between them."""

    group_size: int = 0
    frozen: bool = False
    momentum: float = 0.9

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        settings = {"use_running_average": not train, "group_size": self.group_size, "momentum": self.momentum}
        x = BatchNorm(name="norm1", frozen=self.frozen, **settings)(x)
        x = jnp.maximum(x, 0) ** 2
        return BatchNorm(name="norm2", **settings)(x)


def toy(**settings):
    model = Toy(**settings)
    return model, model.init(jax.random.key(0), jnp.zeros((1, 2, 3, 2)), train=False)


# Batches whose means lie far apart, and of two sizes.
BATCHES = [RNG.normal(offset, 1 + offset, (n, 2, 3, 2)).astype(np.float32) for offset, n in ((0, 4), (3, 4), (1, 2))]


def normalized(x, group_size):
    """Each group of examples by its own mean and deviation, and what came in, in float64."""
    groups = x.astype(np.float64).reshape(-1, group_size or len(x), *x.shape[1:])
    mean, var = groups.mean(axis=(1, 2, 3), keepdims=True), groups.var(axis=(1, 2, 3), keepdims=True)
    return ((groups - mean) / np.sqrt(var + 1e-5)).reshape(x.shape)


@pytest.mark.parametrize("group_size", [0, 2])
@pytest.mark.parametrize("momentum", [0.9, 0.5])
def test_statistics_are_those_of_all_values_that_entered_the_layer(group_size, momentum):
    model, variables = toy(group_size=group_size, momentum=momentum)
    stats = precise_batch_stats(model, variables, map(jnp.asarray, BATCHES))
    seen = {"norm1": BATCHES, "norm2": [np.maximum(normalized(x, group_size), 0) ** 2 for x in BATCHES]}
    for name, batches in seen.items():
        values = np.concatenate(batches).astype(np.float64)
        np.testing.assert_allclose(stats[name]["mean"], values.mean(axis=(0, 1, 2)), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(stats[name]["var"], values.var(axis=(0, 1, 2)), rtol=1e-5)
    mean_of_variances = np.mean([x.var(axis=(0, 1, 2)) for x in BATCHES[:2]], axis=0)
    assert (np.asarray(stats["norm1"]["var"]) > 1.2 * mean_of_variances).any()


def test_the_old_statistics_leave_no_trace():
    model, variables = toy()
    stale = jax.tree.map(lambda leaf: leaf + 1e6, variables["batch_stats"])
    fresh = precise_batch_stats(model, variables, map(jnp.asarray, BATCHES))
    again = precise_batch_stats(model, {**variables, "batch_stats": stale}, map(jnp.asarray, BATCHES))
    jax.tree.map(np.testing.assert_array_equal, fresh, again)


def test_frozen_layers_keep_theirs():
    model, variables = toy(frozen=True)
    stats = precise_batch_stats(model, variables, map(jnp.asarray, BATCHES))
    np.testing.assert_array_equal(stats["norm1"]["mean"], np.zeros(2))
    np.testing.assert_array_equal(stats["norm1"]["var"], np.ones(2))
    values = np.concatenate([np.maximum(x / np.sqrt(1 + 1e-5), 0) ** 2 for x in BATCHES])
    np.testing.assert_allclose(stats["norm2"]["mean"], values.mean(axis=(0, 1, 2)), rtol=1e-5)


def test_layers_that_kept_their_statistics_in_training_keep_them():
    model, variables = toy()
    stats = precise_batch_stats(model, variables, map(jnp.asarray, BATCHES), kept=lambda path: path == "norm1/bias")
    expected = precise_batch_stats(toy(frozen=True)[0], variables, map(jnp.asarray, BATCHES))
    jax.tree.map(np.testing.assert_array_equal, stats, expected)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, set()),
        ({"freeze": "stem_*"}, {"stem_norm"}),
        ({"freeze": "stem_*", "unfreeze_at": 0.5}, set()),  # of 1,437 images, of which 70 batches are three quarters
        ({"freeze": "stem_*", "unfreeze_at": 1.0}, {"stem_norm"}),
        ({"freeze": "stem_*", "unfreeze_at": 0.7761}, {"stem_norm"}),  # 69.7 steps: the 70th was the last frozen one
        ({"freeze_statistics": True}, {"stem_norm", "stage1_block01", "stage2_block01", "stage3_block01"}),
    ],
)
def test_statistics_of_a_run_are_computed_as_it_trained(options, kept, capsys):
    config = Config(model="resnet8_cifar", width=4, dataset="digits", image_size=8, batch_size=16, **options)
    model = build_model(config, 10)
    variables: Any = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    trained = Trained(
        "resnet8_cifar", model, variables, Preprocessing(8, 8), None, "a-run", "digits", run=config, step=70
    )
    stats = with_precise_stats(trained, 32, num_workers=0).variables["batch_stats"]
    same = jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), stats, variables["batch_stats"])
    assert {layer for layer, leaves in same.items() if all(jax.tree.leaves(leaves))} == kept
    assert ("--precise_bn changes nothing" in capsys.readouterr().err) == (len(kept) == 4)


def test_statistics_are_those_of_the_training_images_whatever_folder_is_evaluated(tmp_path):
    def write(folder, names, shade):
        for name in names:
            path = tmp_path / folder / "train" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (shade,) * 3).save(path)
        return str(tmp_path / folder)

    names = ["a/0.png", "a/1.png", "b/0.png", "b/1.png"]
    own, other, copy = write("own", names, 50), write("other", names[:3], 200), write("copy", names, 50)
    config = Config(dataset="folder", data_dir=own, image_size=8, batch_size=8)
    model = Toy()
    variables: Any = {"params": {}, **model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))}
    facts = {"train_examples": example_digest(build_source(config, "train"))}
    trained = Trained("toy", model, variables, Preprocessing(8, 8), None, "a-run", "folder", run=config, facts=facts)

    def stats(network, data_dir):
        return with_precise_stats(network, 8, data_dir=data_dir, num_workers=0).variables["batch_stats"]

    expected = stats(trained, "")
    jax.tree.map(np.testing.assert_array_equal, stats(trained, other), expected)
    gone = replace(trained, run=replace(config, data_dir=str(tmp_path / "gone")))
    jax.tree.map(np.testing.assert_array_equal, stats(gone, copy), expected)
    with pytest.raises(InputError, match=r"^the training images in .*gone are gone, and .*other has others; put them"):
        stats(gone, other)
    with pytest.raises(InputError, match="gone is not a folder"):
        stats(gone, "")


def test_a_micro_batch_is_normalized_by_itself():
    config = Config(model="resnet8_cifar", width=4, dataset="digits", image_size=8, batch_size=16)
    model = build_model(config, 10)
    variables: Any = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))

    def stats(**changes):
        run = replace(config, **changes)
        trained = Trained("resnet8_cifar", model, variables, Preprocessing(8, 8), None, "a-run", "digits", run=run)
        return with_precise_stats(trained, 32, num_workers=0).variables["batch_stats"]

    jax.tree.map(np.testing.assert_array_equal, stats(accumulate=2), stats(batch_size=8))
    assert np.any(stats(accumulate=2)["stage1_block01"]["norm1"]["var"] != stats()["stage1_block01"]["norm1"]["var"])


class Layer(nn.Module):
    """One of several alike, in the form that `nn.scan` wants."""

    @nn.compact
    def __call__(self, x: jax.Array, _: None) -> tuple[jax.Array, None]:
        return jnp.maximum(BatchNorm(use_running_average=False, name="norm")(x), 0) ** 2, None


class Scanned(nn.Module):
    """Two layers, compiled as one and rematerialized."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        axes: dict[Any, Any] = {"params": 0, "batch_stats": 0}
        layers = nn.scan(nn.remat(Layer), variable_axes=axes, split_rngs={"params": True}, length=2)
        return layers(name="layers")(x, None)[0]


def test_scanned_and_rematerialized_layers_have_statistics_each():
    model = Scanned()
    variables = model.init(jax.random.key(0), jnp.zeros((1, 2, 3, 2)))
    stats = precise_batch_stats(model, variables, map(jnp.asarray, BATCHES))["layers"]["norm"]
    values = np.stack(
        [np.concatenate(BATCHES), np.concatenate([np.maximum(normalized(x, 0), 0) ** 2 for x in BATCHES])]
    )
    np.testing.assert_allclose(stats["mean"], values.mean(axis=(1, 2, 3)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(stats["var"], values.var(axis=(1, 2, 3)), rtol=1e-5)


def test_no_batches_are_refused():
    model, variables = toy()
    with pytest.raises(ValueError, match="no images"):
        precise_batch_stats(model, variables, [])
