"""Whole images in batches of one shape, and the five crops, against plain loops."""

import io
from functools import partial

import numpy as np
import pytest
from PIL import Image

from resnet_jax.data.augment.host import resize_and_center_crop, resize_and_five_crops
from resnet_jax.data.augment.resize import resize, resize_short_side
from resnet_jax.data.decode import UnreadableImage, decode_image, decoded_size
from resnet_jax.data.shape_buckets import ASPECTS, image_sizes, shaped_batches, whole_images, whole_shape
from resnet_jax.data.sources.folder import folder_source
from resnet_jax.data.sources.source import ArraySource

RNG = np.random.default_rng(0)


def picture(height, width):
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(30, 41), (41, 30), (30, 30), (33, 90)])
def test_five_crops_are_the_corners_and_the_center(shape):
    image = picture(*shape)
    crops = resize_and_five_crops(image, 8, 11)
    small = resize_short_side(image, 11)
    bottom, right = small.shape[0] - 8, small.shape[1] - 8
    for crop, (top, left) in zip(crops, [(0, 0), (0, right), (bottom, 0), (bottom, right)], strict=False):
        for i in range(8):
            for j in range(8):
                np.testing.assert_array_equal(crop[i, j], small[top + i, left + j])
    np.testing.assert_array_equal(crops[4], resize_and_center_crop(image, 8, 11))
    assert len(crops) == 5


def test_crops_larger_than_the_image_have_black_around_it():
    crops = resize_and_five_crops(picture(20, 20), 12, 8)
    assert crops.shape == (5, 12, 12, 3)
    np.testing.assert_array_equal(crops[0], crops[4])
    assert not crops[:, :2].any()
    assert crops[0, 2:10, 2:10].any()


@pytest.mark.parametrize(
    ("size", "short", "shape"),
    [
        ((375, 500), 224, (224, 299)),
        ((500, 375), 224, (299, 224)),
        ((500, 333), 256, (384, 256)),
        ((100, 100), 225, (225, 225)),
        ((100, 104), 224, (224, 224)),
        ((10, 1000), 32, (32, 128)),
    ],
)
def test_an_image_takes_the_nearest_aspect_ratio(size, short, shape):
    assert whole_shape(size[0], size[1], short) == shape


def test_no_image_up_to_three_to_one_is_stretched_by_more_than_an_eighth():
    for width in range(100, 300):
        height, new = whole_shape(100, width, 480)
        assert abs(np.log((new / height) / (width / 100))) < 1 / 8
    assert len({whole_shape(h, w, 64) for h, w in RNG.integers(10, 500, (2000, 2)).tolist()}) <= 2 * len(ASPECTS) - 1


@pytest.mark.parametrize("multiple", [1, 8])
def test_every_image_is_in_one_batch_of_its_shape(multiple):
    sizes = RNG.integers(20, 60, (101, 2))
    batches = shaped_batches(
        sizes, partial(whole_shape, short=16), lambda shape: 3000 // (shape[0] * shape[1]), multiple
    )
    shown = np.concatenate([batch.index for batch in batches])
    np.testing.assert_array_equal(np.sort(shown), np.arange(101))
    rows = {}
    for batch in batches:
        assert {whole_shape(h, w, 16) for h, w in sizes[batch.index].tolist()} == {batch.shape}
        assert len(batch.index) <= batch.rows == rows.setdefault(batch.shape, batch.rows)
        assert batch.rows % multiple == 0


def test_an_image_too_large_for_a_batch_is_alone_in_it():
    assert [
        batch.rows for batch in shaped_batches(np.array([[9, 9]] * 3), partial(whole_shape, short=64), lambda shape: 0)
    ] == [1, 1, 1]


@pytest.fixture
def folder(tmp_path):
    sizes = [(20, 30), (30, 20), (24, 24), (22, 30), (20, 31), (20, 90), (25, 24)]
    for index, size in enumerate(sizes):
        path = tmp_path / ("ab"[index % 2])
        path.mkdir(exist_ok=True)
        Image.fromarray(picture(*size)).save(path / f"{index}.png")
    return tmp_path


@pytest.mark.parametrize("process_count", [1, 2])
def test_batches_hold_the_resized_images_once(folder, process_count):
    source = folder_source("val", str(folder))
    sizes = image_sizes(source, 0)
    plan = shaped_batches(sizes, partial(whole_shape, short=16), lambda shape: 2, process_count)
    seen = []
    for process in range(process_count):
        shares = {"process_index": process, "process_count": process_count}
        batches = list(whole_images(source, plan, interpolation="bilinear", num_workers=0, **shares))
        assert [b["image"].shape[1:3] for b in batches] == [b.shape for b in plan]
        for batch, planned in zip(batches, plan, strict=True):
            assert len(batch["mask"]) * process_count == planned.rows
            for image, label, mask, index in zip(*(batch[n] for n in ("image", "label", "mask", "index")), strict=True):
                if not mask:
                    assert not image.any()
                    continue
                data, expected, name = source[int(index)]
                assert isinstance(data, bytes)
                pixels = decode_image(data, name)
                assert tuple(sizes[index]) == pixels.shape[:2]
                np.testing.assert_array_equal(image, resize(pixels, *whole_shape(len(pixels), len(pixels[0]), 16)))
                assert label == expected
                seen.append(int(index))
    assert sorted(seen) == list(range(7))


def test_sizes_of_a_set_in_memory():
    source = ArraySource(np.zeros((2, 4, 4, 3), np.uint8), np.zeros(2, np.int32), ("a",), 5)
    np.testing.assert_array_equal(image_sizes(source, 0), [[4, 4]] * 5)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_head_tells_the_decoded_size(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(picture(10, 14)).save(file, "jpeg", exif=exif)
    assert decoded_size(file.getvalue(), "x") == decode_image(file.getvalue(), "x").shape[:2]


def test_a_head_that_is_none_is_refused():
    for data in (b"", b"<html>", b"\xff\xd8 cut off"):
        with pytest.raises(UnreadableImage, match=r"^bad\.jpg: "):
            decoded_size(data, "bad.jpg")
