import numpy as np
import pytest
from PIL import Image

from resnet_jax.data.augment import image_ops
from resnet_jax.data.augment.image_ops import (
    BICUBIC,
    BILINEAR,
    FIXED,
    GEOMETRY,
    NEAREST,
    TONES,
    Step,
    apply,
    apply_steps,
)

IMAGE = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
ODD = [(1, 1), (1, 17), (17, 1), (2, 3), (31, 64)]
FILL = (1, 2, 3)


def after(name: str, magnitude: float = 0.0, resample: Image.Resampling = NEAREST, image=IMAGE) -> np.ndarray:
    return np.asarray(apply(Image.fromarray(image), name, magnitude, resample, FILL))


def luma(image: np.ndarray) -> np.ndarray:
    """Rec. 601 in 16-bit fixed point, rounded, as Pillow has it."""
    return (image.astype(int) @ np.array([19595, 38470, 7471]) + 0x8000) >> 16


def blend(other: np.ndarray, image: np.ndarray, factor: float) -> np.ndarray:
    """From `other` at 0 over the image at 1 and on, truncated as Pillow does it in float32."""
    mixed = other.astype(np.float32) + np.float32(factor) * (image.astype(np.float32) - other.astype(np.float32))
    return np.clip(mixed, 0, 255).astype(np.uint8)


IDENTITIES = {
    **dict.fromkeys(("Color", "Contrast", "Brightness", "Sharpness"), 1.0),
    **dict.fromkeys(GEOMETRY, 0.0),
    "Identity": 0.0,
    "Posterize": 8,
    "Solarize": 256,
    "SolarizeAdd": 0,
    "GaussianBlur": 0.0,
}


@pytest.mark.parametrize("name", IDENTITIES)
@pytest.mark.parametrize("resample", [NEAREST, BILINEAR, BICUBIC])
def test_the_magnitude_that_changes_nothing(name, resample):
    np.testing.assert_array_equal(after(name, IDENTITIES[name], resample), IMAGE)


STRONG = {
    **{"Posterize": 2, "Solarize": 100, "SolarizeAdd": 60, "Hue": 0.3, "GaussianBlur": 1.5, "Rotate": 33.0},
    **{"TranslateX": 5, "TranslateY": -5, "TranslateXRel": 0.3, "TranslateYRel": -0.3, "ShearX": 0.4, "ShearY": -0.4},
}


@pytest.mark.parametrize("name", [*FIXED, *TONES, *GEOMETRY])
@pytest.mark.parametrize("shape", ODD)
def test_any_shape_stays_and_the_original_too(name, shape):
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    before = image.copy()
    result = after(name, STRONG.get(name, 0.5), BICUBIC, image)
    assert (result.shape, result.dtype) == (image.shape, np.uint8)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("name", [*FIXED, *TONES])
def test_a_gray_image_stays_gray(name):
    gray = np.repeat(IMAGE[:, :, :1], 3, axis=2)
    result = after(name, STRONG.get(name, 0.5), image=gray)
    np.testing.assert_array_equal(result, np.repeat(result[:, :, :1], 3, axis=2))


class TestTones:
    def test_invert(self):
        np.testing.assert_array_equal(after("Invert"), 255 - IMAGE)

    def test_gray(self):
        np.testing.assert_array_equal(after("Gray"), np.repeat(luma(IMAGE)[..., None], 3, axis=2))

    @pytest.mark.parametrize("bits", [-1, 0, 1, 3, 7, 9])
    def test_posterize(self, bits):
        kept = [value for value in range(8) if value >= 8 - bits]
        expected = sum((IMAGE >> bit & 1) << bit for bit in kept) if kept else np.zeros_like(IMAGE)
        np.testing.assert_array_equal(after("Posterize", bits), expected)

    @pytest.mark.parametrize("threshold", [0, 99, 99.5, 255])
    def test_solarize(self, threshold):
        np.testing.assert_array_equal(after("Solarize", threshold), np.where(threshold > IMAGE, IMAGE, 255 - IMAGE))

    def test_solarize_add(self):
        for amount in (60, 200):
            expected = np.where(IMAGE < 128, np.minimum(255, IMAGE.astype(int) + amount), IMAGE)
            np.testing.assert_array_equal(after("SolarizeAdd", amount), expected)

    def test_auto_contrast(self):
        narrow = IMAGE // 3 + np.array([10, 40, 90], np.uint8)
        low, high = (reduce(narrow, axis=(0, 1)).astype(float) for reduce in (np.min, np.max))
        # Pillow truncates scale * value + offset, where a float's last bit may take a level away.
        error = after("AutoContrast", image=narrow) - (narrow - low) * 255 / (high - low)
        assert error.min() >= -1
        assert error.max() < 1e-9
        np.testing.assert_array_equal(after("AutoContrast", image=np.full_like(IMAGE, 77)), 77)

    def test_equalize(self):
        dark = (IMAGE.astype(float) ** 2 / 255).astype(np.uint8)
        result = after("Equalize", image=dark)
        for channel in range(3):
            pairs = np.unique(np.stack([dark[..., channel].ravel(), result[..., channel].ravel()]), axis=1)
            assert len(np.unique(pairs[0])) == pairs.shape[1]  # a map of values,
            assert (np.diff(pairs[1]) >= 0).all()  # monotonic,
            shares = np.histogram(result[..., channel], 8, (0, 256))[0] / dark[..., channel].size
            assert abs(shares - 1 / 8).max() < 0.03  # and even, where the values allow it
        assert np.histogram(dark[..., 0], 8, (0, 256))[0].max() > 0.3 * dark[..., 0].size

    @pytest.mark.parametrize("factor", [0.0, 0.4, 1.7])
    def test_blends_go_from_their_degenerate_image_over_the_image_and_on(self, factor):
        gray = np.repeat(luma(IMAGE)[..., None], 3, axis=2)
        flat = np.full_like(IMAGE, int(luma(IMAGE).mean() + 0.5))
        for name, other in (("Brightness", np.zeros_like(IMAGE)), ("Color", gray), ("Contrast", flat)):
            np.testing.assert_array_equal(after(name, factor), blend(other, IMAGE, factor), err_msg=name)

    def test_sharpness_0_smooths_and_2_sharpens(self):
        inner = (slice(1, -1), slice(1, -1))
        kernel = np.ones((3, 3)) + 4 * np.outer([0, 1, 0], [0, 1, 0])
        windows = np.lib.stride_tricks.sliding_window_view(IMAGE, (3, 3), axis=(0, 1))
        smooth = (windows * kernel / 13).sum((-1, -2))
        assert abs(after("Sharpness", 0.0)[inner] - smooth).max() <= 0.5 + 1e-4
        sharp = np.clip(2.0 * IMAGE[inner] - smooth, 0, 255)
        assert abs(after("Sharpness", 2.0)[inner] - sharp).max() <= 1.5

    def test_hue_turns_colors(self):
        red = np.full((4, 4, 3), (255, 0, 0), np.uint8)
        # In steps of 1/255 of the circle, so a third is green to within some levels.
        assert abs(after("Hue", 1 / 3, image=red).astype(int) - (0, 255, 0)).max() <= 3
        assert abs(after("Hue", -1 / 3, image=red).astype(int) - (0, 0, 255)).max() <= 9
        assert abs(after("Hue", 0.5, image=red).astype(int) - (0, 255, 255)).max() <= 6

    def test_gaussian_blur_has_its_standard_deviation(self):
        point = np.zeros((81, 81, 3), np.uint8)
        point[40, 40] = 255
        spread = after(
            "GaussianBlur", 2.0, image=np.where(np.arange(81)[None, :, None] < 40, point, 255).astype(np.uint8)
        )
        row = np.diff(spread[10, :, 0].astype(float))
        place = np.arange(80) - (row * np.arange(80)).sum() / row.sum()
        assert abs(np.sqrt((row * place**2).sum() / row.sum()) - 2.0) < 0.1


class TestGeometry:
    @pytest.mark.parametrize("resample", [NEAREST, BILINEAR, BICUBIC])
    def test_whole_translations_move_pixels(self, resample):
        right = after("TranslateX", 7, resample)
        np.testing.assert_array_equal(right[:, 7:], IMAGE[:, :-7])
        assert (right[:, :7] == FILL).all()
        up = after("TranslateY", -4, resample)
        np.testing.assert_array_equal(up[:-4], IMAGE[4:])
        assert (up[-4:] == FILL).all()

    def test_a_part_of_the_side(self):
        np.testing.assert_array_equal(after("TranslateXRel", 0.2), after("TranslateX", 18))
        np.testing.assert_array_equal(after("TranslateYRel", -0.2), after("TranslateY", -12))

    def test_shears_move_rows_and_columns(self):
        # Row y, whose middle is at y + 1/2, by 2 y + 1 pixels.
        sheared = after("ShearX", 2.0)
        for y in (0, 1, 30):
            np.testing.assert_array_equal(sheared[y, : 90 - 2 * y - 1], IMAGE[y, 2 * y + 1 :])
        transposed = after("ShearX", 2.0, image=IMAGE.swapaxes(0, 1))
        np.testing.assert_array_equal(after("ShearY", 2.0).swapaxes(0, 1), transposed)

    def test_rotate_is_counter_clockwise_around_the_center(self):
        square = IMAGE[:, :60]
        np.testing.assert_array_equal(after("Rotate", 90, image=square), np.rot90(square))
        np.testing.assert_array_equal(after("Rotate", 180), IMAGE[::-1, ::-1])
        turned = after("Rotate", 45, BILINEAR)
        assert (turned[0, 0] == FILL).all()

    def test_filters_differ(self):
        results = [after("Rotate", 10, resample) for resample in (NEAREST, BILINEAR, BICUBIC)]
        assert (results[0] != results[1]).any()
        assert (results[1] != results[2]).any()


def test_steps_are_done_in_their_order():
    image = Image.fromarray(IMAGE)
    steps = [Step("Solarize", 100), Step("TranslateX", 5, BILINEAR), Step("Invert")]
    expected = image_ops.invert(image_ops.translate_x(image_ops.solarize(image, 100), 5, BILINEAR, FILL))
    assert apply_steps(image, steps, FILL) == expected
    assert apply_steps(image, steps[::-1], FILL) != expected
    assert apply_steps(image, []) is image


def test_every_name_is_one_operation():
    assert len({*FIXED, *TONES, *GEOMETRY}) == len(FIXED) + len(TONES) + len(GEOMETRY)
