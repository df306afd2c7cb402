import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.data import device_augment

rng = np.random.default_rng(0)
IMAGES = rng.integers(1, 256, (16, 8, 8, 3), np.uint8)
EPOCH = np.zeros(16, np.int32)
INDEX = np.arange(16, dtype=np.int32)


def batch_of(images: np.ndarray) -> dict:
    return {"image": jnp.asarray(images), "label": jnp.zeros(len(images), jnp.int32)}


def augment(images: np.ndarray, epoch: np.ndarray, index: np.ndarray) -> np.ndarray:
    @jax.jit
    def run(batch, epoch, index):
        keys = device_augment.example_keys(0, epoch, index)
        return device_augment.random_flip(device_augment.pad_and_crop(batch, keys, 2), keys)

    return np.asarray(run(batch_of(images), epoch, index)["image"])


def test_an_example_is_augmented_alike_wherever_it_stands_in_the_batch():
    places = rng.permutation(16)
    whole = augment(IMAGES, EPOCH, INDEX)
    np.testing.assert_array_equal(augment(IMAGES[places], EPOCH, INDEX[places]), whole[places])
    np.testing.assert_array_equal(augment(IMAGES[:4], EPOCH[:4], INDEX[:4]), whole[:4])


def test_another_epoch_is_augmented_otherwise():
    assert (augment(IMAGES, EPOCH, INDEX) != augment(IMAGES, EPOCH + 1, INDEX)).any()


def test_pad_and_crop_is_a_crop_of_the_padded_image():
    keys = device_augment.example_keys(0, EPOCH, INDEX)
    out = np.asarray(device_augment.pad_and_crop(batch_of(IMAGES), keys, 2)["image"])
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)))
    offsets = []
    for image, source in zip(out, padded, strict=True):
        places = [(y, x) for y in range(5) for x in range(5) if (source[y : y + 8, x : x + 8] == image).all()]
        assert len(places) == 1
        offsets += places
    assert len(set(offsets)) > 8


def test_every_offset_and_flip_is_about_equally_likely():
    many = np.arange(4000, dtype=np.int32)
    keys = device_augment.example_keys(1, np.zeros_like(many), many)
    images = np.broadcast_to(np.arange(1, 26, dtype=np.uint8).reshape(1, 5, 5, 1), (4000, 5, 5, 1))
    centre = np.asarray(device_augment.pad_and_crop(batch_of(images), keys, 1)["image"])[:, 2, 2, 0]
    _, counts = np.unique(centre, return_counts=True)
    assert len(counts) == 9
    assert counts.min() > 370
    flipped = np.asarray(device_augment.random_flip(batch_of(images), keys)["image"])[:, 0, 0, 0] == 5
    assert 0.47 < flipped.mean() < 0.53
    # Crop and flip of one example are independent.
    assert abs(np.corrcoef(flipped, centre)[0, 1]) < 0.05


def test_normalize_scales_then_centres():
    mean, std = (0.5, 0.25, 0.0), (0.5, 0.25, 1.0)
    out = device_augment.normalize(batch_of(IMAGES), mean, std)
    assert out["image"].dtype == jnp.float32
    expected = (IMAGES / 255 - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(out["image"], expected, atol=1e-6)
    assert "label" in out


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_keys_differ_by_seed_epoch_and_index(seed):
    epoch, index = np.divmod(np.arange(64, dtype=np.int32), 8)
    keys = jax.random.key_data(device_augment.example_keys(seed, epoch, index))
    assert len(np.unique(np.asarray(keys), axis=0)) == 64
