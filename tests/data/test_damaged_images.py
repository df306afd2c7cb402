"""Damaged files: nothing is accepted that Pillow refuses, nor a JPEG of which libjpeg warns."""

import io

import numpy as np
import pytest
from PIL import Image

from resnet_jax.data.augment.transform import TrainTransform
from resnet_jax.data.decode import UnreadableImage, decode_image, decode_part, decoded_size
from resnet_jax.data.jpeg import CorruptJpeg, jpeg_pixels
from tests.data.images import encoded, smooth

PICTURE = Image.fromarray(smooth())
GRAY16 = smooth()[..., 0].astype(np.uint16) * 257
FILES = {
    "gray.png": encoded(PICTURE.convert("L")),
    "rgb.png": encoded(PICTURE),
    "rgba.png": encoded(PICTURE.convert("RGBA")),
    "palette.png": encoded(PICTURE.quantize(64)),
    "gray16.png": encoded(GRAY16),
    "raw.tif": encoded(PICTURE, "TIFF"),
    "lzw.tif": encoded(PICTURE, "TIFF", compression="tiff_lzw"),
    "deflate.tif": encoded(PICTURE, "TIFF", compression="tiff_adobe_deflate"),
    "lossy.webp": encoded(PICTURE, "WEBP"),
    "lossless.webp": encoded(PICTURE, "WEBP", lossless=True),
    "x.gif": encoded(PICTURE, "GIF"),
    "x.bmp": encoded(PICTURE, "BMP"),
    "x.jpg": encoded(PICTURE, "JPEG"),
    "progressive.jpg": encoded(PICTURE, "JPEG", progressive=True),
    "cmyk.jpg": encoded(PICTURE.convert("CMYK"), "JPEG"),
}


def pillow(data: bytes) -> np.ndarray | None:
    """The pixels as Pillow decodes the whole file at once; None where it refuses."""
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
        return np.asarray(image.convert("RGB"))
    except Exception:
        return None


def ours(data: bytes, lines: list[str]) -> np.ndarray | None:
    try:
        return decode_image(data, "x")
    except UnreadableImage as error:
        lines.append(str(error))
        return None


@pytest.mark.filterwarnings("ignore")  # Pillow's, about damaged metadata
@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_or_a_cut_is_refused_where_pillow_refuses_it(name):
    whole = FILES[name]
    rng = np.random.default_rng(0)
    lines: list[str] = []
    for trial in range(100):
        damaged = bytearray(whole)
        at = int(rng.integers(8, len(whole)))
        if trial % 10:
            damaged[at] ^= 1 << int(rng.integers(8))
        else:
            del damaged[at:]
        expected, found = pillow(bytes(damaged)), ours(bytes(damaged), lines)
        assert expected is not None or found is None
        if expected is not None and found is not None and name != "gray16.png":
            np.testing.assert_array_equal(found, expected)
    assert lines or name == "x.bmp"  # which has no sums and no structure to break
    assert not [line for line in lines if "\n" in line]


def test_a_damaged_png_is_refused_by_every_way_in():
    damaged = bytearray(FILES["rgb.png"])
    damaged[len(damaged) // 2] ^= 16
    for read in (
        lambda data: decode_image(data, "x.png"),
        lambda data: decode_part(data, "x.png", lambda height, width: (0, 0, 4, width)),
        lambda data: TrainTransform().from_file(data, "x.png", np.random.default_rng(0), 32),
    ):
        with pytest.raises(UnreadableImage, match=r"^x\.png: damaged"):
            read(bytes(damaged))


def test_a_png_is_decoded_once(monkeypatch):
    loads = []
    load = Image.Image.load
    monkeypatch.setattr(Image.Image, "load", lambda image: (loads.append(image.format), load(image))[1])
    assert decoded_size(FILES["rgb.png"], "x") == (48, 64)
    assert not loads
    from PIL import PngImagePlugin

    real = PngImagePlugin.PngImageFile.load_prepare
    prepared = []
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load_prepare", lambda image: (prepared.append(1), real(image))[1])
    decode_part(FILES["rgb.png"], "x", lambda height, width: (0, 0, 4, width))
    assert len(prepared) == 1


def scan_start(data: bytes) -> int:
    return data.index(b"\xff\xda") + 14


def without_the_middle(data: bytes) -> bytes:
    start = scan_start(data)
    length = len(data) - start
    return data[: start + length // 3] + data[start + length * 2 // 3 :]


BIG = encoded(smooth(200, 160, seed=5), "JPEG", quality=90)
CORRUPT = {
    "premature end": BIG[: scan_start(BIG) + 500] + b"\xff\xd9",
    "no end": BIG[:-2],
    "cut": BIG[: len(BIG) * 2 // 3],
    "middle missing": without_the_middle(BIG),
    "extraneous bytes": BIG[:-2] + b"\x12" * 40 + b"\xff\xd9",
    "a greater height": BIG.replace((200).to_bytes(2) + (160).to_bytes(2), (400).to_bytes(2) + (160).to_bytes(2)),
}


@pytest.mark.parametrize("kind", CORRUPT)
def test_a_jpeg_that_libjpeg_calls_corrupt_is_refused_in_training_and_evaluation(kind):
    for read in (
        lambda data: decode_image(data, "x.jpg"),
        # The part lies above most of the damage.
        lambda data: decode_part(data, "x.jpg", lambda height, width: (0, 0, 8, width)),
        lambda data: decode_part(data, "x.jpg", lambda height, width: (0, 0, 8, width), fast=True),
    ):
        with pytest.raises(UnreadableImage, match=r"^x\.jpg: damaged \(.*; restore the file$"):
            read(CORRUPT[kind])


@pytest.mark.parametrize("kind", ["turned", "CMYK", "progressive"])
def test_other_jpegs_are_checked_too(kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.fromarray(smooth(200, 160))
    data = {
        "turned": encoded(picture, "JPEG", exif=exif),
        "CMYK": encoded(picture.convert("CMYK"), "JPEG"),
        "progressive": encoded(picture, "JPEG", progressive=True),
    }[kind]
    decode_image(data, "x.jpg")
    with pytest.raises(UnreadableImage, match=r"^x\.jpg: damaged"):
        decode_image(without_the_middle(data), "x.jpg")


def test_data_behind_the_end_of_a_jpeg_is_ignored():
    np.testing.assert_array_equal(decode_image(BIG + b"garbage" * 9, "x"), decode_image(BIG, "x"))


def changed_head(data: bytes, kind: str) -> bytes:
    changed = bytearray(data)
    if kind == "JFIF revision":
        changed[data.index(b"JFIF\0") + 5] = 9
    else:  # the spectral selection of a sequential scan
        changed[scan_start(data) - 2] = 5
    return bytes(changed)


@pytest.mark.parametrize("kind", ["JFIF revision", "scan parameters"])
def test_a_harmless_warning_hides_no_other(kind):
    np.testing.assert_array_equal(decode_image(changed_head(BIG, kind), "x"), decode_image(BIG, "x"))
    with pytest.raises(UnreadableImage, match=r"x: damaged \(Corrupt JPEG data"):
        decode_image(changed_head(CORRUPT["middle missing"], kind), "x")


def test_the_warning_is_named():
    with pytest.raises(CorruptJpeg, match="Premature end of JPEG file"):
        jpeg_pixels(CORRUPT["cut"])


def test_real_jpegs_are_accepted(real_data):
    files = sorted((real_data / "hymenoptera").rglob("*.jpg")) + sorted((real_data / "imagenette-160").rglob("*.JPEG"))
    for file in files[::40]:
        assert decode_image(file.read_bytes(), str(file)).any()


@pytest.mark.parametrize(
    ("image", "kind", "why"),
    [
        (np.full((4, 4), 200, np.int32), "TIFF", "32-bit"),
        (np.full((4, 4), 2**20, np.int32), "TIFF", "32-bit"),
        (np.full((4, 4), -5, np.int32), "TIFF", "32-bit"),
        (np.full((4, 4), 0.5, np.float32), "TIFF", "floating-point"),
    ],
)
def test_values_without_an_agreed_range_are_refused(image, kind, why):
    with pytest.raises(UnreadableImage, match=rf"^x\.tif: {why} pixels have no agreed range; convert it to 8 bits$"):
        decode_image(encoded(image, kind), "x.tif")


@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_16_bits_keep_their_upper_8_in_either_byte_order(mode):
    values = np.array([[0, 255, 256, 32768, 65535]], "<u2" if mode == "I;16" else ">u2")
    data = encoded(Image.frombytes(mode, (5, 1), values.tobytes()), "TIFF")
    assert decode_image(data, "x")[0, :, 0].tolist() == [0, 0, 1, 128, 255]
