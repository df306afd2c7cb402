"""Memory of one image: bounded by its header before decoding, and by the crop after it."""

import os
import re
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnet_jax.data import decode
from resnet_jax.data.augment import host
from resnet_jax.data.augment.resize import at_least, resize, resize_short_side, resized_windows, short_side_size
from resnet_jax.data.decode import UnreadableImage, decode_image, decode_part, decoded_size
from tests.data.images import encoded, smooth


def png_of(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(1, 89_000_000), (89_000_000, 1), (9_000, 9_000), (60_000, 60_000)])
def test_a_png_beyond_the_limit_is_refused_by_its_header(width, height):
    limits = f"{decode.MAX_DECODE_BYTES // 8}|{decode.MAX_PIXELS}"
    for read in (decode_image, decoded_size):
        with pytest.raises(UnreadableImage, match=rf"^x\.png: .*more than ({limits}) pixels.*scale it"):
            read(png_of(width, height), "x.png")


KINDS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO", "TGA"]


@pytest.mark.parametrize("kind", KINDS)
def test_one_limit_holds_for_all_formats(kind, monkeypatch):
    data = encoded(smooth(48, 48), kind)
    monkeypatch.setattr(decode, "MAX_DECODE_BYTES", 20 * 48 * 48)
    decode_image(data, "x")
    monkeypatch.setattr(decode, "MAX_DECODE_BYTES", 2 * 48 * 48)
    monkeypatch.setattr(decode, "MAX_PIXELS", 48 * 48 // 3)
    for read in (
        decode_image,
        decoded_size,
        lambda file, name: decode_part(file, name, lambda height, width: (0, 0, 1, 1)),
    ):
        with pytest.raises(UnreadableImage, match=rf"^x: 48 x 48 is more than \d+ pixels, the limit of {kind} files"):
            read(data, "x")


def test_an_icon_that_understates_its_size_is_refused(monkeypatch):
    inner = encoded(smooth(60, 60))
    directory = struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 24, len(inner), 22)
    monkeypatch.setattr(decode, "MAX_DECODE_BYTES", 8 * 20 * 20)
    with pytest.raises(UnreadableImage, match="60 x 60 is more than"):
        decode_image(directory + inner, "x.ico")


def test_conversion_in_bands_equals_the_conversion_of_the_whole(monkeypatch):
    tall = smooth(70, 40)
    for image in (Image.fromarray(tall), Image.fromarray(tall.swapaxes(0, 1).copy())):
        for mode in ("RGB", "L", "RGBA", "CMYK", "P", "1", "I;16"):
            picture = (
                Image.fromarray(np.asarray(image)[..., 0].astype(np.uint16) << 8)
                if "I" in mode
                else image.convert(mode)
            )
            data = encoded(picture, "TIFF")
            monkeypatch.setattr(decode, "_BAND", 2**20)
            whole = decode_image(data, "x")
            monkeypatch.setattr(decode, "_BAND", 300)
            np.testing.assert_array_equal(decode_image(data, "x"), whole)


STRIP = smooth(3, 6_000)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest", "lanczos"])
@pytest.mark.parametrize("upright", [False, True])
def test_windows_of_a_strip_equal_those_of_the_whole_to_one_level(interpolation, upright):
    strip = STRIP.swapaxes(0, 1).copy() if upright else STRIP
    height, width = short_side_size(strip.shape[0], strip.shape[1], 10)
    whole = resize(strip, height, width, interpolation).astype(int)
    last = max(height, width) - 8
    corners = [(place, 1) if upright else (1, place) for place in (0, 1, 777, last // 2, last)]
    windows = resized_windows(strip, height, width, corners, 8, interpolation)
    for (top, left), window in zip(corners, windows, strict=True):
        assert window.shape == (8, 8, 3)
        assert np.abs(window - whole[top : top + 8, left : left + 8]).max() <= 1


CROPS = [
    lambda image: host.resize_and_center_crop(image, 224, 256),
    lambda image: host.resize_and_five_crops(image, 224, 256),
    lambda image: host.scale_jitter_crop(image, 224, np.random.default_rng(0)),
    lambda image: host.random_resized_crop(image, 224, np.random.default_rng(0)),
]


@pytest.mark.parametrize("crop", CROPS)
def test_the_crop_of_a_thin_strip_needs_little_memory(crop):
    strip = smooth(3, 65_500)
    tracemalloc.start()  # counts numpy's memory and Pillow's copies to numpy
    crops = crop(strip)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert crops.shape[-3:] == (224, 224, 3)
    assert peak < 50 * 2**20


def resident_mib(which: str) -> float:
    """Return the process's memory, VmRSS now or VmHWM at its peak."""
    (kib,) = re.findall(rf"^{which}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"), re.MULTILINE)
    return int(kib) / 2**10


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="a peak of memory cannot be set back here")
@pytest.mark.parametrize("crop", CROPS)
def test_the_file_of_a_thin_strip_needs_little_memory(crop):
    """Pillow's own memory included, which tracemalloc does not see: 10 GB when the whole was resized."""
    data = encoded(smooth(3, 65_500), "JPEG")
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # sets the peak back to what is held now
    before = resident_mib("VmRSS")
    assert crop(decode_image(data, "strip.jpg")).shape[-3:] == (224, 224, 3)
    assert resident_mib("VmHWM") - before < 100


@pytest.mark.parametrize(("height", "width"), [(50, 3_300), (3_300, 50), (1, 100), (100, 1)])
def test_small_strips_are_padded_as_before(height, width):
    image = smooth(height, width)
    crop = host.resize_and_center_crop(image, 40, 30)
    expected = at_least(resize_short_side(image, 30), 40)
    top, left = (round((side - 40) / 2) for side in expected.shape[:2])
    assert np.abs(crop.astype(int) - expected[top : top + 40, left : left + 40]).max() <= 1
