import hashlib

import numpy as np
import pytest
from PIL import Image

from resnet_jax.config.options import Config
from resnet_jax.data.build import build_preprocessing, build_source
from resnet_jax.data.sources.load import MAX_RESIZED_BYTES, load_source, resized
from resnet_jax.data.sources.source import ArraySource
from resnet_jax.errors import InputError


def array_source(labels=(0, 1), size=4, length=None) -> ArraySource:
    images = np.random.default_rng(0).integers(0, 256, (len(labels), size, size, 3), np.uint8)
    return ArraySource(images, np.array(labels, np.int32), ("a", "b"), length or len(labels))


def test_digits_are_split_by_class_and_always_alike():
    train, val = (load_source("digits", split, None, 0) for split in ("train", "val"))
    assert isinstance(train, ArraySource)
    assert isinstance(val, ArraySource)
    assert train.images.shape == (1437, 8, 8, 3)
    assert val.images.shape == (360, 8, 8, 3)
    assert np.bincount(val.labels).min() >= 34
    assert (train.images.min(), train.images.max()) == (0, 255)
    assert not {image.tobytes() for image in train.images} & {image.tobytes() for image in val.images}
    # Another split would make every measured accuracy on digits incomparable with the earlier ones.
    assert hashlib.sha256(val.labels.tobytes()).hexdigest()[:16] == "9ce5b942abae7d0e"


def test_fake_has_the_length_of_imagenet_and_repeats():
    train = load_source("fake", "train", None, 16)
    assert len(train) == 1_281_167
    assert len(train.class_names) == 1000
    first, again = train[5], train[5 + 64 * 1000]
    np.testing.assert_array_equal(first.image, again.image)
    assert first.label == again.label
    assert len(load_source("fake", "val", None, 0)) == 256


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_resizing_is_pillows_antialiased(interpolation):
    source = array_source(size=9)
    out = resized(source, 5, interpolation)
    for image, small in zip(source.images, out.images, strict=True):
        expected = Image.fromarray(image).resize((5, 5), Image.Resampling[interpolation.upper()])
        np.testing.assert_array_equal(small, np.asarray(expected))


@pytest.mark.parametrize("interpolation", ["", "bicubic"])
def test_a_run_sees_an_image_as_its_predictions_on_files_do(interpolation):
    config = Config(dataset="digits", image_size=16, eval_image_size=24, interpolation=interpolation)
    for split, size in (("train", 16), ("val", 24)):
        original = load_source("digits", split, None, 0)[0].image
        np.testing.assert_array_equal(
            build_source(config, split)[0].image, build_preprocessing(config, size).crop()(original)
        )


@pytest.mark.parametrize("image_size", [0, 9])
def test_its_own_size_is_not_resized(image_size):
    source = array_source(size=9)
    assert resized(source, image_size) is source


def test_resizing_beyond_memory_is_refused():
    size = int((MAX_RESIZED_BYTES / 6) ** 0.5) + 1
    with pytest.raises(InputError, match=f"--image_size={size}: .* take at most {size - 1}"):
        resized(array_source(), size)


@pytest.mark.parametrize("label", [-1, 2])
def test_labels_out_of_range_are_refused(label):
    with pytest.raises(InputError, match=f"example 1 has label {label}, but the set has 2 classes"):
        array_source((0, label))


def test_an_array_source_is_a_sequence():
    source = array_source(length=5)
    assert [example.label for example in (source[i] for i in range(5))] == [0, 1, 0, 1, 0]
    with pytest.raises(IndexError):
        source[5]


def test_arrays_of_another_form_are_refused():
    with pytest.raises(InputError, match="uint8"):
        ArraySource(np.zeros((2, 4, 4, 3), np.float32), np.zeros(2, np.int32), ("a",), 2)
    with pytest.raises(InputError, match="labels of shape"):
        ArraySource(np.zeros((2, 4, 4, 3), np.uint8), np.zeros(3, np.int32), ("a",), 2)
