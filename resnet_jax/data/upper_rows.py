"""The upper rows of a JPEG, without decoding those below.

libjpeg-turbo can stop early, but none of its Python bindings lets it. So the file is told to be less high: a baseline
JPEG holds its rows from top to bottom, and the decoder stops where the head says that the picture ends. What is left of
the file is then a surplus of which libjpeg warns.
"""

import numpy as np
import simplejpeg

# Rows below the wanted ones whose colour they need: subsampled colour is interpolated between a row's neighbours.
_MARGIN = 2

# libjpeg reports its first warning only: with this one, all that was decoded before is whole. D9 is the file's end.
_SURPLUS = "extraneous bytes before marker 0xd9"

_BASELINE = (0xC0, 0xC1)  # frames of one Huffman-coded scan; the progressive ones build up the whole picture repeatedly
_START_OF_SCAN = 0xDA
_SEGMENTS = {0xC4, 0xCC, 0xDB, 0xDD, 0xDE, 0xDF, 0xFE, *range(0xE0, 0xF0)}  # that may stand before it


def upper_rows(data: bytes, rows: int, height: int, width: int, fast: bool = False) -> np.ndarray | None:
    """The first rows of a gray or YCbCr JPEG that nothing turns, equal to those of the whole picture.

    Args:
        data: the file.
        rows: how many, at least.
        height: of the picture, pixels.
        width: of the picture, pixels.
        fast: take libjpeg's faster, less exact inverse cosine transform.

    Returns:
        uint8 [rows or more,width,3]; None where the whole picture must be decoded: its rows are not stored in order,
        or the file is damaged.
    """
    at = _height_position(data)
    if at is None or data[at : at + 4] != height.to_bytes(2) + width.to_bytes(2):
        return None
    rows = min(height, rows + _MARGIN)
    shortened = b"".join((data[:at], rows.to_bytes(2), data[at + 2 :]))
    pixels = np.empty((rows, width, 3), np.uint8)
    try:
        simplejpeg.decode_jpeg(shortened, "RGB", fastdct=fast, fastupsample=False, buffer=pixels)
    except ValueError as error:
        if _SURPLUS not in str(error):
            return None
    return pixels


def _height_position(data: bytes) -> int | None:
    """Where the height stands (two bytes, before the width) in a JPEG of one scan; None in any other."""
    at, frame = 2, None
    while at + 9 < len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        if marker in _BASELINE:
            frame = at
        elif marker == _START_OF_SCAN:
            # As many components in the scan as in the picture.
            return frame + 5 if frame is not None and data[at + 4] == data[frame + 9] else None
        elif marker not in _SEGMENTS:
            return None
        at += 2 + length
    return None
