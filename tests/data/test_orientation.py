"""All eight orientations, of every format that has them."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from resnet_jax.data.decode import decode_image, decode_part, decoded_size
from resnet_jax.data.shape_buckets import image_sizes
from resnet_jax.data.sources.folder import folder_source
from tests.data.images import encoded, orientation_exif, smooth

FORMATS = {
    "JPEG": {},
    "PNG": {},
    "TIFF": {},
    "WEBP": {"lossless": True},
    "AVIF": {},
    "JPEG2000": {},
}


def with_late_exif(png: bytes, value: int) -> bytes:
    """A PNG whose eXIf chunk stands behind the pixels, as the standard allows."""
    content = orientation_exif(value).tobytes().removeprefix(b"Exif\0\0")
    body = b"eXIf" + content
    chunk = struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
    return png[:-12] + chunk + png[-12:]


def with_xmp(kind: str, value: int) -> bytes:
    xmp = f'<x:xmpmeta><rdf:Description tiff:Orientation="{value}"/></x:xmpmeta>'.encode()
    return encoded(smooth(), kind, xmp=xmp)


def turned_files(value: int) -> dict[str, bytes]:
    exif = orientation_exif(value)
    files = {kind: encoded(smooth(), kind, exif=exif, **options) for kind, options in FORMATS.items()}
    files["LZW TIFF"] = encoded(smooth(), "TIFF", exif=exif, compression="tiff_lzw")
    files["gray TIFF"] = encoded(smooth()[..., 0], "TIFF", exif=exif)
    files["CMYK JPEG"] = encoded(Image.fromarray(smooth()).convert("CMYK"), "JPEG", exif=exif)
    files["late PNG"] = with_late_exif(encoded(smooth()), value)
    files["JPEG, XMP"] = with_xmp("JPEG", value)
    return files


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("kind", turned_files(1))
def test_size_and_parts_are_those_of_the_whole_image(kind, value):
    data = turned_files(value)[kind]
    image = Image.open(io.BytesIO(data))
    image.load()
    whole = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(decode_image(data, "x"), whole)
    height, width = whole.shape[:2]
    assert decoded_size(data, "x") == (height, width)
    for top, left, high, wide in ((0, 0, height, width), (3, 5, 20, 9), (height - 7, width - 11, 7, 11)):
        asked = []

        def choose(*size, box=(top, left, high, wide)):
            asked.append(size)  # noqa: B023
            return box

        part = decode_part(data, "x", choose)
        assert asked == [(height, width)]
        np.testing.assert_array_equal(part, whole[top : top + high, left : left + wide])


@pytest.mark.parametrize("value", [0, 9, 255])
def test_other_values_mean_upright(value):
    assert decode_image(encoded(smooth(), "PNG", exif=orientation_exif(value)), "x").shape == (48, 64, 3)


def test_the_plan_of_whole_images_has_the_size_of_a_turned_tiff(tmp_path):
    (tmp_path / "val" / "a").mkdir(parents=True)
    (tmp_path / "val" / "a" / "x.tif").write_bytes(encoded(smooth(), "TIFF", exif=orientation_exif(6)))
    assert image_sizes(folder_source("val", str(tmp_path)), 0).tolist() == [[64, 48]]
