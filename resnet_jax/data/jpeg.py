"""JPEG through libjpeg-turbo, which warns of corrupt data where Pillow decodes in silence."""

from collections.abc import Iterator

import numpy as np
import simplejpeg

# simplejpeg raises the first warning of libjpeg as a ValueError with its text. These mean that pixels are missing or
# wrong. Data after the end of the image is no reason for one, a missing end-of-image marker is: Pillow refuses it too.
_CORRUPT = ("Corrupt JPEG data", "Premature end of JPEG file", "Inconsistent progression sequence")

# These are about fields of the header that change no pixel, and would hide a later warning.
_HARMLESS = ("Warning: unknown JFIF revision", "Unknown Adobe color transform", "Invalid SOS parameters")

APP0, APP14 = 0xE0, 0xEE
START_OF_SCAN = 0xDA
SEQUENTIAL = (0xC0, 0xC1)  # frames whose scans hold whole coefficients


class CorruptJpeg(Exception):
    """Pixels of the image are missing or wrong; the text is libjpeg's warning."""


def jpeg_pixels(data: bytes, colors: str = "RGB") -> np.ndarray | None:
    """Decode a JPEG; the pixels equal Pillow's.

    Args:
        data: the file.
        colors: "RGB", also of gray and YCbCr images, or "CMYK".

    Returns:
        uint8 [H,W,3 or 4]; None where simplejpeg does not support the file (unusual subsampling).

    Raises:
        CorruptJpeg: libjpeg warns of corrupt data.
    """
    try:
        return simplejpeg.decode_jpeg(data, colors, fastdct=False, fastupsample=False)
    except ValueError as error:
        warning = str(error)
    if warning.startswith(_HARMLESS) and (standard := _standard_header(data)) != data:
        return jpeg_pixels(standard, colors)
    if warning.startswith(_CORRUPT):
        raise CorruptJpeg(warning)
    return None


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, position, length) of the segments up to the first scan, or to where a marker is missing.

    The content of a segment begins at position + 4.
    """
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        yield marker, at, length
        if marker == START_OF_SCAN:
            return
        at += 2 + length


def _standard_header(data: bytes) -> bytes:
    """Return the file with standard values in the fields that `_HARMLESS` is about."""
    changed = bytearray(data)
    sequential = False
    for marker, at, length in jpeg_segments(data):
        content = data[at + 4 : at + 2 + length]
        sequential |= marker in SEQUENTIAL
        if marker == APP0 and content.startswith(b"JFIF\0"):
            changed[at + 9] = 1  # major version
        elif marker == APP14 and content.startswith(b"Adobe") and len(content) >= 12 and content[11] > 2:
            changed[at + 15] = 1  # YCbCr, which libjpeg assumes
        elif marker == START_OF_SCAN and sequential and len(content) >= 4:
            changed[at + length - 1 : at + length + 2] = bytes((0, 63, 0))  # all coefficients, all bits
    return bytes(changed)
