"""The airbench networks: their first layer, their start, their size, and what of them is trained."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from resnet_jax.errors import InputError
from resnet_jax.layers.norm import BatchNorm
from resnet_jax.layers.whitening import CHUNK, WhiteningConv, patch_moments, whitening_kernel
from resnet_jax.models.airbench import Airbench, partial_identity
from resnet_jax.models.counts import abstract_variables, multiply_adds, parameter_count
from resnet_jax.models.registry import create_model
from resnet_jax.optim.optimizers import make_optimizer
from resnet_jax.training.state import TrainState
from resnet_jax.training.step import train_step

# Name: our parameters, torch's (with the kernel and the scales, which are not trained), epochs and PFLOPs of the
# training, as the header of each of the reference's scripts has them (KellerJordan/cifar10-airbench, legacy/).
SIZES = {
    "airbench94_cifar": (1_971_352, 1_972_792, 9.9, 0.36),
    "airbench95_cifar": (4_604_440, 4_606_520, 15, 1.39),
    "airbench96_cifar": (9_915_416, 9_918_776, 37, 4.91),
}


def toy(**options: Any) -> Airbench:
    return Airbench((32, 40, 48), **options)


QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


@partial(jax.jit, static_argnums=0, compiler_options=QUICK)
def fresh(model: Airbench, images: jax.Array) -> Any:
    return model.init(jax.random.key(0), images)


@partial(jax.jit, static_argnums=0, compiler_options=QUICK)
def features(model: Airbench, variables: Any, images: jax.Array) -> Any:
    return model.apply(variables, images, features=True)


def what_differs(before: Any, after: Any) -> list[str]:
    """Paths of the leaves that are not equal."""
    equal = jax.tree.map(np.array_equal, before, after)
    return [jax.tree_util.keystr(path) for path, leaf in jax.tree.leaves_with_path(equal) if not leaf]


def smooth_images(count: int = 40, size: int = 12, seed: int = 0) -> np.ndarray:
    """Images whose neighboring pixels and channels resemble each other, as photographs' do."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(count, size + 2, size + 2, 3)) @ np.array([[1.0, 0.8, 0.7], [0, 0.5, 0.4], [0, 0, 0.3]])
    shifted = [noise[:, i : i + size, j : j + size] for i in range(3) for j in range(3)]
    return (np.sum(shifted, axis=0) / 3).astype(np.float32)


def patches_of(images: np.ndarray) -> np.ndarray:
    """Every 2x2 patch, one at a time: [N (H-1) (W-1),12]."""
    height, width = images.shape[1:3]
    corners = [(i, j) for i in range(height - 1) for j in range(width - 1)]
    return np.stack([image[i : i + 2, j : j + 2].ravel() for image in images for i, j in corners]).astype(np.float64)


@pytest.mark.parametrize("name", SIZES)
def test_parameters(name):
    ours, torchs, *_ = SIZES[name]
    variables = abstract_variables(create_model(name), 32)
    assert parameter_count(variables["params"]) == ours
    kernel = variables["batch_stats"]["stem_conv"]["kernel"].size
    scales = sum(leaf.size for path, leaf in jax.tree.leaves_with_path(variables["batch_stats"]) if "var" in str(path))
    assert ours + kernel + scales == torchs


@pytest.mark.parametrize("name", SIZES)
def test_multiply_adds(name):
    _, _, epochs, petaflops = SIZES[name]
    # Two operations a multiply-add; a training step is three forward passes, and the evaluation six views.
    passes = 3 * 50_000 // 1024 * 1024 * epochs + 6 * 10_000
    assert 2 * passes * multiply_adds(create_model(name), 32) / 1e15 == pytest.approx(petaflops, rel=0.03)


def test_multiply_adds_by_hand():
    pixels = [31 * 31 * 12, 31 * 31 * 9 * 24, 15 * 15 * 9 * 64, 15 * 15 * 9 * 64, 7 * 7 * 9 * 256, 7 * 7 * 9 * 256]
    filters = [24, 64, 64, 256, 256, 256]
    last = 3 * 3 * 9 * 256 * 256 + 256 * 10
    assert multiply_adds(create_model("airbench94_cifar"), 32) == np.dot(pixels, filters) + last


@pytest.mark.parametrize("shape", [(3, 3, 5, 8), (3, 3, 5, 5), (3, 3, 8, 5)])
def test_convolutions_start_as_the_identity_on_their_first_channels(shape):
    _, _, inputs, filters = shape
    kernel = jax.jit(partial_identity, static_argnums=1)(jax.random.key(0), shape)
    x = np.random.default_rng(0).normal(size=(2, 6, 6, inputs)).astype(np.float32)
    y = jax.lax.conv_general_dilated(jnp.asarray(x), kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    same = min(inputs, filters)
    np.testing.assert_array_equal(y[..., :same], x[..., :same])
    rest = np.asarray(kernel)[..., inputs:]
    assert rest.size == 0 or 0.9 < np.abs(rest).max() * np.sqrt(9 * inputs) <= 1  # uniform within 1 / sqrt(fan_in)


@pytest.mark.parametrize("count", [3, CHUNK + 3])
def test_moments_are_those_of_all_patches(count):
    images = smooth_images(count, size=4)
    patches = patches_of(images)
    np.testing.assert_allclose(patch_moments(images), patches.T @ patches / len(patches), rtol=1e-9, atol=1e-12)


def test_whitened_patches_are_uncorrelated_with_variance_one():
    images = smooth_images()
    kernel = whitening_kernel(images, eps=0.0)
    assert (kernel.shape, kernel.dtype) == ((2, 2, 3, 24), np.float32)
    patches = patches_of(images)
    before = patches.T @ patches / len(patches)
    whitened = patches @ kernel.reshape(12, 24)
    after = whitened[:, :12].T @ whitened[:, :12] / len(patches)
    assert np.abs(before - np.eye(12)).max() > 0.5
    np.testing.assert_allclose(after, np.eye(12), atol=1e-4)
    np.testing.assert_array_equal(whitened[:, 12:], -whitened[:, :12])


def test_eps_holds_down_directions_that_hardly_occur():
    images = smooth_images()
    eps = 0.05
    patches = patches_of(images)
    whitened = patches @ whitening_kernel(images, eps).reshape(12, 24)[:, :12]
    values = np.linalg.eigvalsh(patches.T @ patches / len(patches))[::-1]
    after = whitened.T @ whitened / len(patches)
    np.testing.assert_allclose(after, np.diag(values / (values + eps)), atol=1e-5)
    assert after[-1, -1] < 0.6


def test_whiten_replaces_the_kernel_and_nothing_else():
    model = toy()
    images = smooth_images()
    variables = fresh(model, images[:1])
    before = jax.tree.map(np.array, variables)
    whitened = model.whiten(variables, images)
    jax.tree.map(np.testing.assert_array_equal, variables, before)
    np.testing.assert_array_equal(whitened["batch_stats"]["stem_conv"]["kernel"], whitening_kernel(images))
    assert what_differs(variables, whitened) == ["['batch_stats']['stem_conv']['kernel']"]
    outputs = features(model, whitened, images)
    y = patches_of(images) @ whitening_kernel(images).reshape(12, 24)
    expected = jax.nn.gelu(jnp.asarray(y, jnp.float32), approximate=False).reshape(len(images), 11, 11, 24)
    np.testing.assert_allclose(outputs["stem"], expected, rtol=1e-4, atol=1e-4)


def test_the_kernel_takes_the_place_of_the_old_one_on_every_device():
    everywhere = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec())
    model = toy()
    images = smooth_images(4, size=9)
    whitened = model.whiten(jax.device_put(fresh(model, images), everywhere), images)
    assert {leaf.sharding for leaf in jax.tree.leaves(whitened)} == {everywhere}


def test_bfloat16_rounds_what_leaves_the_whitening_and_not_what_enters():
    images = smooth_images()
    variables = {
        "params": {"bias": jnp.full(24, 0.1)},
        "batch_stats": {"kernel": jnp.asarray(whitening_kernel(images))},
    }
    exact: Any = WhiteningConv(jnp.float32).apply(variables, images)
    rounded: Any = WhiteningConv(jnp.bfloat16).apply(variables, images)
    np.testing.assert_array_equal(rounded, exact.astype(jnp.bfloat16))


def test_before_whitening_the_stem_passes_pixels_and_their_negatives():
    model = toy()
    images = smooth_images(2, size=9)
    variables = fresh(model, images)
    kernel = variables["batch_stats"]["stem_conv"]["kernel"].reshape(12, 24)
    np.testing.assert_array_equal(kernel, np.concatenate([np.eye(12), -np.eye(12)], axis=1))


def test_training_with_decay_leaves_the_kernel_and_moves_everything_else():
    model = toy()
    images = smooth_images(8, size=16)
    variables = model.whiten(fresh(model, images), images)
    tx = make_optimizer("sgd", optax.constant_schedule(0.1), momentum=0.9, weight_decay=0.1)
    state = TrainState(jnp.int32(0), variables["params"], variables["batch_stats"], tx.init(variables["params"]))
    batch = {"image": jnp.asarray(images), "label": jnp.arange(8), "mask": jnp.ones(8)}
    step = jax.jit(partial(train_step, model=model, tx=tx, key=jax.random.key(1)), compiler_options=QUICK)
    after, _ = step(state, batch)
    trees = [{"params": s.params, "batch_stats": s.batch_stats} for s in (state, after)]
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(trees[0])]
    assert set(paths) - set(what_differs(*trees)) == {"['batch_stats']['stem_conv']['kernel']"}


def test_the_head_has_no_bias_and_logits_are_a_ninth():
    model = toy()
    images = smooth_images(4, size=32)
    variables = fresh(model, images)
    assert list(variables["params"]["head"]) == ["kernel"]
    outputs = features(model, variables, images)
    np.testing.assert_allclose(
        outputs["logits"], outputs["pooled"] @ variables["params"]["head"]["kernel"] / 9, rtol=1e-5, atol=1e-6
    )
    assert outputs["stage3"].shape == (4, 3, 3, 48)


def test_a_normalization_without_scale_equals_one_whose_scale_is_one():
    x = jax.random.normal(jax.random.key(0), (4, 5, 5, 3)) * 3 + 1
    bias = jnp.array([0.1, -0.2, 0.3])
    statistics = {"mean": jnp.ones(3), "var": jnp.full(3, 2.0)}
    without = BatchNorm(False, use_scale=False).apply(
        {"params": {"bias": bias}, "batch_stats": statistics}, x, mutable=["batch_stats"]
    )
    with_ones = BatchNorm(False).apply(
        {"params": {"bias": bias, "scale": jnp.ones(3)}, "batch_stats": statistics}, x, mutable=["batch_stats"]
    )
    jax.tree.map(np.testing.assert_array_equal, without, with_ones)


@pytest.mark.parametrize(("name", "kept"), [("airbench94_cifar", 0.6), ("airbench96_cifar", 0.9)])
def test_the_share_of_the_running_statistics_that_is_kept(name, kept):
    model = create_model(name, widths=(24, 24, 24))
    images = smooth_images(4, size=16)
    variables = fresh(model, images)
    train = jax.jit(partial(model.apply, train=True, mutable=["batch_stats"]), compiler_options=QUICK)
    _, updates = train(variables, images)
    x = features(model, variables, images)["stem"]  # its first convolution is the identity at width 24
    pooled = x[:, :14, :14].reshape(4, 7, 2, 7, 2, 24).max(axis=(2, 4))
    expected = (1 - kept) * pooled.mean(axis=(0, 1, 2))
    np.testing.assert_allclose(updates["batch_stats"]["stage1"]["norm1"]["mean"], expected, rtol=1e-4, atol=1e-5)


def test_images_too_small_for_three_groups_are_refused():
    model = toy()
    assert jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), jnp.zeros((1, 9, 9, 3)))[0]).shape == (
        1,
        10,
    )
    with pytest.raises(InputError, match=r"--image_size=8: .* 9 pixels"):
        jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3))))
