import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from resnet_jax.data.augment.host import crop_box
from resnet_jax.data.decode import MAX_PIXELS, UnreadableImage, decode_image, decode_part
from resnet_jax.data.partial_jpeg import jpeg_header, upper_rows
from tests.data.images import encoded

rng = np.random.default_rng(0)
COLOR = rng.integers(0, 256, (9, 7, 3), np.uint8)
GRAY = rng.integers(0, 256, (9, 7), np.uint8)


def pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_real_jpegs_equal_pillow(real_data):
    files = sorted((real_data / "imagenet-raw-64").glob("*"))[:24]
    files += sorted((real_data / "hymenoptera" / "val").glob("*/*"))[:24]
    for file in files:
        np.testing.assert_array_equal(decode_image(file.read_bytes(), str(file)), pillow(file.read_bytes()))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "TGA"])
def test_lossless_formats_come_back_exactly(kind):
    np.testing.assert_array_equal(decode_image(encoded(COLOR, kind), "x"), COLOR)


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_modes_equal_pillow(mode, progressive):
    smooth = Image.fromarray(COLOR).resize((64, 48)).convert(mode)
    data = encoded(smooth, "JPEG", progressive=progressive)
    np.testing.assert_array_equal(decode_image(data, "x"), pillow(data))


def test_gray_becomes_three_equal_channels():
    np.testing.assert_array_equal(decode_image(encoded(GRAY), "x"), np.repeat(GRAY[..., None], 3, 2))


def test_palette_with_transparency_keeps_its_colors():
    palette = Image.fromarray(COLOR).quantize(16)
    data = encoded(palette, "PNG", transparency=bytes(range(16)))
    np.testing.assert_array_equal(decode_image(data, "x"), np.asarray(palette.convert("RGB")))


def test_transparency_is_dropped():
    rgba = np.concatenate([COLOR, GRAY[..., None]], axis=2)
    np.testing.assert_array_equal(decode_image(encoded(rgba), "x"), COLOR)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_gray_is_scaled_not_clipped(kind):
    deep = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    decoded = decode_image(encoded(deep, kind), "x")
    np.testing.assert_array_equal(decoded[0, :, 0], [0, 0, 1, 128, 255])


def test_floating_point_is_refused():
    with pytest.raises(UnreadableImage, match=r"x\.tif: floating-point"):
        decode_image(encoded(np.ones((4, 4), np.float32), "TIFF"), "x.tif")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_exif_orientation_is_applied(kind):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    lying = np.zeros((16, 32, 3), np.uint8)
    lying[:, :16] = 255
    standing = decode_image(encoded(lying, kind, exif=exif), "x")
    assert standing.shape == (32, 16, 3)
    assert standing[:12].min() > 200
    assert standing[20:].max() < 55


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's own, on opening
def test_damaged_exif_does_not_lose_the_image():
    data = encoded(COLOR, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decode_image(data, "x").shape == COLOR.shape


def test_the_content_decides_not_the_name():
    np.testing.assert_array_equal(decode_image(encoded(COLOR), "n02105855_2933.JPEG"), COLOR)


def huge_png(side: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [int(MAX_PIXELS**0.5) + 1, 10_000, 60_000])
def test_a_bomb_is_refused_by_its_header(side):
    with pytest.raises(UnreadableImage, match=r"bomb\.png: .*more than .* pixels"):
        decode_image(huge_png(side), "bomb.png")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"\n<!DOCTYPE html><html>404</html>", "web page"),
        (b"nothing known", "not an image"),
        (encoded(Image.fromarray(COLOR).resize((64, 64)), "JPEG")[:-400], "damaged"),
        (encoded(Image.fromarray(COLOR).resize((64, 64)), "PNG")[:-900], "damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ],
)
def test_what_cannot_be_decoded_is_named(data, why):
    with pytest.raises(UnreadableImage, match=f"^cat.jpg: .*{why}") as caught:
        decode_image(data, "cat.jpg")
    assert "\n" not in str(caught.value)


def whole(height: int, width: int) -> tuple[int, int, int, int]:
    return 0, 0, height, width


def assert_every_part_is_cut_from_the_whole(data: bytes) -> None:
    picture = decode_image(data, "x")
    height, width = picture.shape[:2]
    for bottom in range(1, height + 1, 3):
        top, left, right = bottom // 2, bottom % width, width
        for intact in (False, True):
            part = decode_part(data, "x", lambda *_: (top, left, bottom - top, right - left), intact=intact)  # noqa: B023
            np.testing.assert_array_equal(part, picture[top:bottom, left:right])


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"optimize": True, "quality": 30}], ids=str
)
def test_a_part_of_a_jpeg_is_cut_from_the_whole(subsampling, options):
    noise = np.random.default_rng(1).integers(0, 256, (12, 9, 3), np.uint8)
    picture = Image.fromarray(noise).resize((53, 70), Image.Resampling.BICUBIC)
    assert_every_part_is_cut_from_the_whole(encoded(picture, "JPEG", subsampling=subsampling, **options))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_part_of_other_images_is_cut_from_the_whole(kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    smooth = Image.fromarray(COLOR).resize((40, 33))
    assert_every_part_is_cut_from_the_whole(encoded(smooth, kind, exif=exif))
    assert_every_part_is_cut_from_the_whole(encoded(smooth.convert("L"), kind))


def test_parts_of_real_jpegs_are_cut_from_the_whole(real_data):
    files = sorted((real_data / "imagenet-raw-64").glob("*"))
    rng = np.random.default_rng(0)
    shortened = 0
    for file in files:
        data = file.read_bytes()
        picture = decode_image(data, "x")
        rows, columns = picture.shape[:2]
        top, left, height, width = box = crop_box(rows, columns, rng, (0.08, 1), (3 / 4, 4 / 3))
        expected = picture[top : top + height, left : left + width]
        for intact in (False, True):
            part = decode_part(data, "x", lambda *_: box, intact=intact)  # noqa: B023
            np.testing.assert_array_equal(part, expected)
        header = jpeg_header(data)
        assert header is not None
        assert header[1:3] == (rows, columns)
        upper = upper_rows(data, header, top + height)
        shortened += upper is not None and len(upper) < rows
    assert shortened > len(files) / 2  # the rest reaches down to the last rows


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_a_part_of_a_damaged_jpeg_is_right_or_refused(subsampling):
    picture = Image.fromarray(np.random.default_rng(2).integers(0, 256, (96, 40, 3), np.uint8))
    data = encoded(picture, "JPEG", subsampling=subsampling)
    torn = bytearray(data)
    torn[len(data) * 3 // 4 : len(data) * 3 // 4 + 2] = b"\xff\xd9"  # ends before the lower rows
    for damaged in (data[: len(data) * 3 // 4], bytes(torn)):
        with pytest.raises(UnreadableImage, match=r"^cat\.jpg: damaged"):
            decode_part(damaged, "cat.jpg", lambda height, width: (0, 0, 16, width))
    # Where the file is known to be whole, rows below the part are not decoded.
    upper = decode_part(bytes(torn), "cat.jpg", lambda height, width: (0, 0, 16, width), intact=True)
    np.testing.assert_array_equal(upper, decode_image(data, "x")[:16])
    header = jpeg_header(bytes(torn))
    assert header is not None
    assert upper_rows(bytes(torn), header, 80) is None


@pytest.mark.parametrize("picture", [COLOR, GRAY], ids=["color", "gray"])
def test_a_jpeg_that_is_cut_in_its_header_is_unreadable_wherever_it_is_cut(picture):
    data = encoded(picture, "JPEG")
    for size in range(data.index(b"\xff\xda") + 15):
        with pytest.raises(UnreadableImage, match=r"^cat\.jpg: "):
            decode_part(data[:size], "cat.jpg", whole)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        encoded(COLOR),
        encoded(COLOR, "JPEG", progressive=True),
        encoded(Image.fromarray(COLOR).convert("CMYK"), "JPEG"),
        encoded(COLOR, "JPEG")[:100],
    ],
    ids=["empty", "PNG", "progressive", "CMYK", "cut short"],
)
def test_other_files_have_no_header_to_shorten(data):
    assert jpeg_header(data) is None


@pytest.mark.parametrize(("data", "why"), [(b"", "empty"), (b"nothing known", "not an image")])
def test_no_part_of_what_is_no_image(data, why):
    with pytest.raises(UnreadableImage, match=f"^cat.jpg: .*{why}"):
        decode_part(data, "cat.jpg", whole)
