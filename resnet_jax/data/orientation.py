"""Orientation of images, from EXIF or XMP: how the stored pixels are rotated and mirrored for display."""

import numpy as np
from PIL import Image

UPRIGHT = 1
_TAG = 0x0112
_TRANSPOSED = (5, 6, 7, 8)  # height and width are exchanged
_PNG_METADATA = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")


def orientation(image: Image.Image) -> int:
    """Return the orientation that remains to be applied, 1 (none) to 8, without decoding the image.

    Of a PNG, metadata behind the pixels counts only once the image is loaded; `has_late_metadata` tells.
    """
    if image.format == "TIFF" and _TAG in getattr(image, "tag_v2", ()):
        return UPRIGHT  # Pillow applies it on loading and reports the size that results
    try:
        # Not PngImageFile.getexif, which decodes the pixels and loses their errors.
        found = Image.Image.getexif(image).get(_TAG, UPRIGHT)
    except Exception:  # nearly anything on damaged EXIF, which does not concern the pixels
        return UPRIGHT
    return found if found in range(1, 9) else UPRIGHT


def transposes(turn: int) -> bool:
    """Return whether an orientation exchanges height and width."""
    return turn in _TRANSPOSED


def upright(pixels: np.ndarray, turn: int) -> np.ndarray:
    """Apply an orientation to pixels [H,W,C]; the result is [W,H,C] where it is transposed."""
    if turn == UPRIGHT:
        return pixels
    if transposes(turn):
        pixels = pixels.swapaxes(0, 1)
    if turn in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if turn in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def has_late_metadata(data: bytes) -> bool:
    """Return whether a file is a PNG with metadata behind its pixels, which may hold the orientation."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return False
    at, pixels = 8, False
    while at + 8 <= len(data):
        kind = data[at + 4 : at + 8]
        pixels |= kind == b"IDAT"
        if pixels and kind in _PNG_METADATA:
            return True
        at += 12 + int.from_bytes(data[at : at + 4])
    return False
