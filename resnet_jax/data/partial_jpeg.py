"""The upper rows of a JPEG, without decoding those below.

libjpeg-turbo can stop early, but no Python binding offers it. A baseline JPEG holds its rows from top to bottom, and
the decoder stops at the height in the header; so the header gets a smaller one, and the rest of the file is a surplus
of which libjpeg warns.
"""

from typing import NamedTuple

import numpy as np
import simplejpeg

from resnet_jax.data.jpeg import SEQUENTIAL, START_OF_SCAN, jpeg_segments

# Rows below the wanted ones that determine their color: subsampled color is interpolated between neighboring rows.
_MARGIN = 2

# libjpeg reports its first warning only: with this one, all pixels before it are whole. D9 is the file's end.
_SURPLUS = "extraneous bytes before marker 0xd9"

_SEGMENTS = {0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0), *SEQUENTIAL, START_OF_SCAN}  # that a header may have
_APP1 = 0xE1  # EXIF or XMP, which may hold an orientation


class Header(NamedTuple):
    """The header of a JPEG whose rows lie in order.

    Attributes:
        position: byte offset of the two bytes of its height.
        height: of the stored rows, pixels.
        width: likewise.
        may_turn: whether it holds metadata that may give an orientation.
    """

    position: int
    height: int
    width: int
    may_turn: bool


def jpeg_header(data: bytes) -> Header | None:
    """Return the header of a gray or three-colored sequential JPEG of 8 bits and one scan, None of others."""
    if data[:2] != b"\xff\xd8":
        return None
    frame, scan, may_turn = None, None, False
    for marker, at, _ in jpeg_segments(data):
        if marker not in _SEGMENTS:
            return None
        if marker in SEQUENTIAL:
            frame = at
        elif marker == START_OF_SCAN:
            scan = at
        may_turn |= marker == _APP1
    if frame is None or scan is None or scan + 9 >= len(data):
        return None
    bits, components = data[frame + 4], data[frame + 9]
    height, width = (int.from_bytes(data[i : i + 2]) for i in (frame + 5, frame + 7))
    if bits != 8 or components not in (1, 3) or data[scan + 4] != components or not height or not width:
        return None
    return Header(frame + 5, height, width, may_turn)


def upper_rows(data: bytes, header: Header, rows: int, fast: bool = False) -> np.ndarray | None:
    """Decode the first rows of a JPEG, equal to those of the whole image.

    Args:
        data: the file.
        header: its header.
        rows: how many, at least; with `header.height` the whole file is checked.
        fast: use libjpeg's faster, less exact inverse cosine transform.

    Returns:
        uint8 [rows or more,width,3]; None where libjpeg warns of anything but the surplus.
    """
    rows = min(header.height, rows + _MARGIN)
    shortened = b"".join((data[: header.position], rows.to_bytes(2), data[header.position + 2 :]))
    pixels = np.empty((rows, header.width, 3), np.uint8)
    try:
        simplejpeg.decode_jpeg(shortened, "RGB", fastdct=fast, fastupsample=False, buffer=pixels)
    except ValueError as error:
        if rows == header.height or _SURPLUS not in str(error):
            return None
    return pixels
