import pickle
from functools import partial

import numpy as np
import pytest
from PIL import Image

from resnet_jax.data.augment import host
from resnet_jax.errors import InputError

IMAGE = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)


class TestRandomResizedCrop:
    def test_is_crop_then_resize(self):
        box = host.crop_box(60, 90, np.random.default_rng(3), (0.08, 1), (3 / 4, 4 / 3))
        top, left, height, width = box
        expected = Image.fromarray(IMAGE).crop((left, top, left + width, top + height))
        expected = np.asarray(expected.resize((32, 32), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(host.random_resized_crop(IMAGE, 32, np.random.default_rng(3)), expected)

    def test_one_generator_state_gives_one_crop(self):
        crops = [host.random_resized_crop(IMAGE, 16, np.random.default_rng(s)) for s in (1, 1, 2)]
        np.testing.assert_array_equal(crops[0], crops[1])
        assert (crops[0] != crops[2]).any()

    def test_area_aspect_and_place_are_distributed_as_asked(self):
        rng = np.random.default_rng(0)
        boxes = np.array([host.crop_box(400, 400, rng, (0.1, 0.5), (3 / 4, 4 / 3)) for _ in range(4000)])
        top, left, height, width = boxes.T
        area, log_ratio = height * width / 400**2, np.log(width / height)
        assert 0.098 < area.min() < 0.11
        assert 0.49 < area.max() < 0.502
        assert abs(area.mean() - 0.3) < 0.01
        assert abs(log_ratio).max() < np.log(4 / 3) + 0.02
        assert abs(log_ratio.mean()) < 0.01
        assert abs((top / (400 - height)).mean() - 0.5) < 0.02
        assert abs((left / (400 - width)).mean() - 0.5) < 0.02

    @pytest.mark.parametrize(("shape", "box"), [((10, 1000), (0, 493, 10, 13)), ((1000, 10), (493, 0, 13, 10))])
    def test_falls_back_to_the_center_of_a_long_image(self, shape, box):
        rng = np.random.default_rng(0)
        assert host.crop_box(shape[0], shape[1], rng, (0.9, 1), (3 / 4, 4 / 3)) == box


def torchvision_eval(image: np.ndarray, size: int, resize: int) -> np.ndarray:
    """Resize(resize) and CenterCrop(size), step by step as torchvision writes them for Pillow images."""
    pil = Image.fromarray(image)
    short, long = sorted(pil.size)
    new_long = int(resize * long / short)
    pil = pil.resize((resize, new_long) if pil.width <= pil.height else (new_long, resize), Image.Resampling.BILINEAR)
    if size > pil.width or size > pil.height:
        left = (size - pil.width) // 2 if size > pil.width else 0
        top = (size - pil.height) // 2 if size > pil.height else 0
        canvas = Image.new("RGB", (max(size, pil.width), max(size, pil.height)))
        canvas.paste(pil, (left, top))
        pil = canvas
    top, left = int(round((pil.height - size) / 2.0)), int(round((pil.width - size) / 2.0))  # noqa: RUF046
    return np.asarray(pil.crop((left, top, left + size, top + size)))


@pytest.mark.parametrize("shape", [(60, 90), (90, 61), (64, 64), (37, 101), (33, 32)])
@pytest.mark.parametrize(("size", "resize"), [(32, 36), (31, 36), (32, 32), (48, 40)])
def test_resize_and_center_crop_equals_torchvision(shape, size, resize):
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    ours = host.resize_and_center_crop(image, size, resize)
    np.testing.assert_array_equal(ours, torchvision_eval(image, size, resize))


def test_scale_jitter_crop_draws_all_scales():
    gradient = np.broadcast_to(np.linspace(0, 255, 300).astype(np.uint8)[:, None, None], (300, 300, 3))
    rng = np.random.default_rng(0)
    crops = [host.scale_jitter_crop(gradient, 56, rng) for _ in range(300)]
    assert {crop.shape for crop in crops} == {(56, 56, 3)}
    # The crop shows 56/64 to 56/120 of the height.
    shown = [np.ptp(crop.astype(int)) / 255 for crop in crops]
    assert 0.44 < min(shown) < 0.5
    assert 0.82 < max(shown) < 0.9


def test_random_flip_flips_half():
    rng = np.random.default_rng(0)
    flips = [host.random_flip(IMAGE, rng) is not IMAGE for _ in range(400)]
    assert 160 < sum(flips) < 240
    mirrored = next(out for _ in range(50) if (out := host.random_flip(IMAGE, rng)) is not IMAGE)
    np.testing.assert_array_equal(mirrored, IMAGE[:, ::-1])


class TestRandomInterpolation:
    @pytest.mark.parametrize("crop", [host.random_resized_crop, host.scale_jitter_crop])
    def test_is_bilinear_or_bicubic_as_often(self, crop):
        chosen = []
        for seed in range(200):
            ours = crop(IMAGE, 16, np.random.default_rng(seed), interpolation="random")
            drawn = [name for name in ("bilinear", "bicubic") if (ours == forced(crop, seed, name)).all()]
            assert len(drawn) == 1
            chosen += drawn
        assert abs(chosen.count("bicubic") - 100) < 4 * np.sqrt(200 / 4)

    def test_takes_nothing_from_the_generator_where_the_filter_is_given(self):
        rng = np.random.default_rng(0)
        assert host.drawn_interpolation("lanczos", rng) == "lanczos"
        assert rng.random() == np.random.default_rng(0).random()

    def test_is_refused_where_nothing_is_drawn(self):
        with pytest.raises(InputError, match="interpolation random is for the random crops"):
            host.resize_and_center_crop(IMAGE, 32, 36, interpolation="random")


def forced(crop, seed: int, name: str) -> np.ndarray:
    """The crop with what is drawn for its filter replaced by `name`, and nothing else changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host, "drawn_interpolation", lambda _, rng: (rng.random(), name)[1])
        return crop(IMAGE, 16, np.random.default_rng(seed), interpolation="random")


def test_random_resized_crop_takes_scale_and_ratio():
    crop = partial(host.random_resized_crop, size=8, scale=(1.0, 1.0), ratio=(1.5, 1.5), interpolation="bicubic")
    expected = np.asarray(Image.fromarray(IMAGE).resize((8, 8), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(crop))(IMAGE, rng=np.random.default_rng(0)), expected)


class TestPadAndCrop:
    @pytest.mark.parametrize("shape", [(7, 5), (1, 9), (32, 32)])
    def test_is_a_crop_of_the_image_with_black_around(self, shape):
        image = np.random.default_rng(1).integers(1, 256, (*shape, 3), np.uint8)
        padded = np.zeros((shape[0] + 4, shape[1] + 4, 3), np.uint8)
        padded[2:-2, 2:-2] = image
        rng = np.random.default_rng(0)
        seen = [host.pad_and_crop(image, rng, 2) for _ in range(400)]
        places = [(y, x) for y in range(5) for x in range(5)]
        windows = np.stack([padded[y : y + shape[0], x : x + shape[1]] for y, x in places])
        equal = np.array([(windows == crop).all((1, 2, 3)) for crop in seen])
        assert equal.any(1).all()
        if min(shape) > 4:
            assert (equal.sum(1) == 1).all()
            # 25 places, 16 times each.
            assert abs(equal.sum(0) - 16).max() < 4 * np.sqrt(400 * 24 / 25**2)

    def test_no_padding_changes_nothing(self):
        np.testing.assert_array_equal(host.pad_and_crop(IMAGE, np.random.default_rng(0), 0), IMAGE)
