import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from resnet_jax.data.augment import device, erasing

rng = np.random.default_rng(0)
IMAGES = rng.integers(1, 256, (16, 8, 8, 3), np.uint8)
EPOCH = np.zeros(16, np.int32)
INDEX = np.arange(16, dtype=np.int32)


def batch_of(images: np.ndarray) -> dict:
    return {"image": jnp.asarray(images), "label": jnp.zeros(len(images), jnp.int32)}


def augment(images: np.ndarray, epoch: np.ndarray, index: np.ndarray) -> np.ndarray:
    @jax.jit
    def run(batch, epoch, index):
        keys = device.example_keys(jax.random.key(0), epoch, index)
        return device.random_flip(device.pad_and_crop(batch, keys, 2), keys)

    return np.asarray(run(batch_of(images), epoch, index)["image"])


def test_an_example_is_augmented_alike_wherever_it_stands_in_the_batch():
    places = rng.permutation(16)
    whole = augment(IMAGES, EPOCH, INDEX)
    np.testing.assert_array_equal(augment(IMAGES[places], EPOCH, INDEX[places]), whole[places])
    np.testing.assert_array_equal(augment(IMAGES[:4], EPOCH[:4], INDEX[:4]), whole[:4])


def test_another_epoch_is_augmented_otherwise():
    assert (augment(IMAGES, EPOCH, INDEX) != augment(IMAGES, EPOCH + 1, INDEX)).any()


@pytest.mark.slow
def test_every_device_augments_its_share_as_one_would_all():
    @jax.jit
    def run(batch):
        keys = device.example_keys(jax.random.key(0), batch["epoch"], batch["index"], batch["view"])
        batch = device.alternating_flip(device.pad_and_crop(batch, keys, 2, "reflect"), jax.random.key(0))
        batch = device.normalize(batch, (0.5,) * 3, (0.25,) * 3)
        return erasing.cutout(erasing.random_erasing(batch, keys, 0.5, fill="noise"), keys, 3)

    numbers = {"epoch": EPOCH, "index": INDEX, "view": INDEX % 3}
    batch = batch_of(IMAGES) | {name: jnp.asarray(value) for name, value in numbers.items()}
    divided = run(jax.device_put(batch, NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data"))))
    assert len(divided["image"].sharding.device_set) == 8
    np.testing.assert_allclose(divided["image"], run(batch)["image"], atol=1e-6)


def alternating(epoch: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Whether alternating_flip mirrors each example of an epoch."""
    images = jnp.broadcast_to(jnp.arange(2)[None, None, :, None], (len(index), 1, 2, 1))
    batch = {"image": images, "epoch": jnp.asarray(epoch), "index": jnp.asarray(index)}
    return np.asarray(device.alternating_flip(batch, jax.random.key(0))["image"])[:, 0, 0, 0] == 1


def test_an_alternating_flip_shows_both_sides_in_two_epochs():
    many = np.arange(1000, dtype=np.int32)
    first = alternating(0 * many, many)
    assert 0.45 < first.mean() < 0.55
    for epoch in range(1, 5):
        np.testing.assert_array_equal(alternating(0 * many + epoch, many), first ^ (epoch % 2 == 1))
    # Rows of several epochs in one batch, in any order.
    epoch, index = rng.integers(0, 9, 500).astype(np.int32), rng.integers(0, 1000, 500).astype(np.int32)
    np.testing.assert_array_equal(alternating(epoch, index), first[index] ^ (epoch % 2 == 1))


def test_an_alternating_flip_begins_as_a_random_one():
    batch = batch_of(IMAGES) | {"epoch": jnp.asarray(EPOCH), "index": jnp.asarray(INDEX)}
    expected = device.random_flip(batch, device.example_keys(jax.random.key(3), EPOCH, INDEX))
    np.testing.assert_array_equal(device.alternating_flip(batch, jax.random.key(3))["image"], expected["image"])


@pytest.mark.parametrize(("mode", "numpy_mode"), [("zeros", "constant"), ("reflect", "reflect")])
def test_pad_and_crop_is_a_crop_of_the_padded_image(mode, numpy_mode):
    keys = device.example_keys(jax.random.key(0), EPOCH, INDEX)
    out = np.asarray(device.pad_and_crop(batch_of(IMAGES), keys, 2, mode)["image"])
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)), mode=numpy_mode)
    offsets = []
    for image, source in zip(out, padded, strict=True):
        places = [(y, x) for y in range(5) for x in range(5) if (source[y : y + 8, x : x + 8] == image).all()]
        assert len(places) == 1
        offsets += places
    assert len(set(offsets)) > 8


def test_every_offset_and_flip_is_about_equally_likely():
    many = np.arange(4000, dtype=np.int32)
    keys = device.example_keys(jax.random.key(1), np.zeros_like(many), many)
    images = np.broadcast_to(np.arange(1, 26, dtype=np.uint8).reshape(1, 5, 5, 1), (4000, 5, 5, 1))
    center = np.asarray(device.pad_and_crop(batch_of(images), keys, 1)["image"])[:, 2, 2, 0]
    _, counts = np.unique(center, return_counts=True)
    assert len(counts) == 9
    assert counts.min() > 370
    flipped = np.asarray(device.random_flip(batch_of(images), keys)["image"])[:, 0, 0, 0] == 5
    assert 0.47 < flipped.mean() < 0.53
    # Crop and flip of one example are independent.
    assert abs(np.corrcoef(flipped, center)[0, 1]) < 0.05


def test_normalize_scales_then_centers():
    mean, std = (0.5, 0.25, 0.0), (0.5, 0.25, 1.0)
    out = device.normalize(batch_of(IMAGES), mean, std)
    assert out["image"].dtype == jnp.float32
    expected = (IMAGES / 255 - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(out["image"], expected, atol=1e-6)
    assert "label" in out


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_keys_differ_by_seed_epoch_index_and_view(seed):
    epoch, index, view = np.indices((4, 4, 4), np.int32).reshape(3, 64)
    keys = np.asarray(jax.random.key_data(device.example_keys(jax.random.key(seed), epoch, index, view)))
    assert len(np.unique(keys, axis=0)) == 64
    first = jax.random.key_data(device.example_keys(jax.random.key(seed), epoch, index))
    np.testing.assert_array_equal(np.asarray(first)[view == 0], keys[view == 0])
