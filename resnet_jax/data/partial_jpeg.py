"""The upper rows of a JPEG, without decoding those below.

libjpeg-turbo can stop early, but none of its Python bindings lets it. So the file is told to be less high: a baseline
JPEG holds its rows from top to bottom, and the decoder stops where the head says that the picture ends. What is left of
the file is then a surplus of which libjpeg warns.
"""

from typing import NamedTuple

import numpy as np
import simplejpeg

# Rows below the wanted ones whose color they need: subsampled color is interpolated between a row's neighbors.
_MARGIN = 2

# libjpeg reports its first warning only: with this one, all that was decoded before is whole. D9 is the file's end.
_SURPLUS = "extraneous bytes before marker 0xd9"

_BASELINE = (0xC0, 0xC1)  # frames of one Huffman-coded scan; the progressive ones build up the whole picture repeatedly
_START_OF_SCAN = 0xDA
_SEGMENTS = {0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)}  # that may stand before it
_APP1 = 0xE1  # of EXIF or XMP, which may say that the picture is to be turned


class Head(NamedTuple):
    """Of a JPEG whose rows lie in order.

    Attributes:
        position: where the two bytes of its height stand.
        height: of the rows as they are stored, pixels.
        width: likewise.
        may_turn: whether something may say that the picture is to be turned.
    """

    position: int
    height: int
    width: int
    may_turn: bool


def jpeg_head(data: bytes) -> Head | None:
    """Return the head of a gray or three-colored baseline JPEG of 8 bits and one scan; None of others."""
    if data[:2] != b"\xff\xd8":
        return None
    at, frame, may_turn = 2, None, False
    while at + 9 < len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        if marker in _BASELINE:
            frame = at
        elif marker == _START_OF_SCAN:
            break
        elif marker not in _SEGMENTS:
            return None
        may_turn |= marker == _APP1
        at += 2 + length
    cut = at + 9 >= len(data)
    if cut or frame is None or data[at : at + 2] != bytes((0xFF, _START_OF_SCAN)):
        return None
    bits, components = data[frame + 4], data[frame + 9]
    height, width = (int.from_bytes(data[i : i + 2]) for i in (frame + 5, frame + 7))
    if bits != 8 or components not in (1, 3) or data[at + 4] != components or not height or not width:
        return None
    return Head(frame + 5, height, width, may_turn)


def upper_rows(data: bytes, head: Head, rows: int, fast: bool = False) -> np.ndarray | None:
    """Return the first rows of a JPEG, equal to those of the whole picture.

    Args:
        data: the file.
        head: its head.
        rows: how many, at least.
        fast: take libjpeg's faster, less exact inverse cosine transform.

    Returns:
        uint8 [rows or more,width,3]; None where something is damaged, and the whole picture must be looked at.
    """
    rows = min(head.height, rows + _MARGIN)
    shortened = b"".join((data[: head.position], rows.to_bytes(2), data[head.position + 2 :]))
    pixels = np.empty((rows, head.width, 3), np.uint8)
    try:
        simplejpeg.decode_jpeg(shortened, "RGB", fastdct=fast, fastupsample=False, buffer=pixels)
    except ValueError as error:
        if rows == head.height or _SURPLUS not in str(error):
            return None
    return pixels
