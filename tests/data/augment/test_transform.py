"""A crop of a file is the crop of its pixels; the fast way stays close to the exact one."""

import io

import numpy as np
import pytest
from PIL import Image

from resnet_jax.data.augment.host import crop_box, resize_and_center_crop
from resnet_jax.data.augment.opencv_resize import blur, fast_resize
from resnet_jax.data.augment.resize import resize
from resnet_jax.data.augment.transform import TrainTransform
from resnet_jax.data.decode import decode_image
from resnet_jax.errors import InputError


def picture(height, width):
    """A smooth image as JPEG."""
    noise = np.random.default_rng(0).integers(0, 256, (height // 12, width // 12, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "transform",
    [
        TrainTransform(),
        TrainTransform(interpolation="random", jitter=0.3, lighting=0.1),
        TrainTransform(crop="scale_jitter", interpolation="bicubic"),
    ],
    ids=["bilinear", "random", "scale_jitter"],
)
def test_a_crop_of_a_file_is_the_crop_of_its_pixels(transform):
    data = picture(120, 160)
    for seed in range(20):
        from_file = transform.from_file(data, "x", np.random.default_rng(seed), 32)
        from_pixels = transform(decode_image(data, "x"), np.random.default_rng(seed), 32)
        np.testing.assert_array_equal(from_file, from_pixels)


def test_the_blur_widens_linear_interpolation_to_the_triangle():
    assert blur(0.5).tolist() == blur(1.0).tolist() == [1]
    np.testing.assert_allclose(blur(2.0), [0.25, 0.5, 0.25])
    for scale in (1.2, 1.7, 2.3, 4.0, 7.5):
        weights = blur(scale)
        offsets = np.arange(len(weights)) - len(weights) // 2
        assert weights.sum() == pytest.approx(1)
        # Of a triangle that is sampled, the variance is larger by that of the sampling.
        assert (weights * offsets**2).sum() == pytest.approx((scale**2 - 1) / 6, rel=0.15)


def test_without_opencv_the_fast_way_says_what_to_install(monkeypatch):
    import sys

    from resnet_jax.data.augment import opencv_resize as module

    monkeypatch.setitem(sys.modules, "cv2", None)
    module.opencv.cache_clear()
    with pytest.raises(InputError, match=r"fast needs OpenCV: pip install 'residual-jax\[fast\]'"):
        fast_resize(np.zeros((4, 4, 3), np.uint8), 2, 2)


def differences(data, seeds, size):
    """Of the fast crops from the exact ones, level for level."""
    exact, fast = TrainTransform(), TrainTransform(interpolation="fast")
    crops = [[t.from_file(data, "x", np.random.default_rng(seed), size) for t in (exact, fast)] for seed in seeds]
    return np.abs(np.array([a.astype(int) - b for a, b in crops]))


class TestFast:
    @pytest.fixture(autouse=True)
    def _needs_opencv(self):
        pytest.importorskip("cv2")

    def test_enlarging_equals_pillow_to_one_level(self):
        image = decode_image(picture(40, 48), "x")
        for height, width in ((40, 48), (41, 64), (100, 97), (300, 200)):
            exact = resize(image, height, width, "bilinear").astype(int)
            assert np.abs(fast_resize(image, height, width) - exact).max() <= 1

    def test_halving_equals_pillow_but_for_the_edge(self):
        image = decode_image(picture(64, 80), "x")
        difference = np.abs(fast_resize(image, 32, 40) - resize(image, 32, 40, "bilinear").astype(int))
        assert difference[1:-1, 1:-1].max() <= 2

    def test_crops_stay_close_to_the_exact_ones(self):
        found = differences(picture(300, 400), range(30), 96)
        assert found.mean() < 2
        assert np.quantile(found, 0.999) <= 16

    def test_crops_of_photographs_stay_close_to_the_exact_ones(self, real_data):
        files = sorted((real_data / "imagenet-raw-64").glob("*"))
        found = np.concatenate([differences(f.read_bytes(), (i, i + 100), 224) for i, f in enumerate(files)])
        assert found.mean() < 2
        assert np.quantile(found, 0.999) <= 16


@pytest.mark.parametrize("crop", ["random_resized", "scale_jitter"])
@pytest.mark.parametrize("interpolation", ["bilinear", "fast"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 50), (50, 1), (2, 9_000), (9_000, 1), (1, 2)])
def test_pictures_of_any_size_are_cropped(crop, interpolation, height, width):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    transform = TrainTransform(crop=crop, interpolation=interpolation)
    for kind in ("JPEG", "PNG"):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, kind)
        for seed in range(5):
            assert transform.from_file(buffer.getvalue(), "x", np.random.default_rng(seed), 32).shape == (32, 32, 3)
    assert resize_and_center_crop(pixels, 32, 36).shape == (32, 32, 3)


def test_a_crop_of_a_narrow_ratio_has_a_pixel_at_least():
    assert crop_box(1, 1, np.random.default_rng(0), (0.9, 1.0), (3.0, 4.0)) == (0, 0, 1, 1)
