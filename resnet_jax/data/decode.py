"""Image files to pixels: JPEG through libjpeg-turbo, everything else through Pillow, never more than memory allows."""

import io

import numpy as np
import simplejpeg
from PIL import Image, ImageOps

from resnet_jax.errors import InputError

# A quarter of a GiB once decoded, and where Pillow itself begins to warn; a 12 KB PNG can claim to be larger. Images
# of ImageNet have 0.2 million (measured on 64).
MAX_PIXELS = 2**28 // 3

# The raster formats in use. Not EPS: Pillow hands it to Ghostscript, an interpreter that an image must not reach.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO", "TGA")

_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)  # orientations that exchange height and width


class UnreadableImage(InputError):
    """One image cannot be decoded: names the file and says why."""


def decode_image(data: bytes, name: str) -> np.ndarray:
    """Decodes one image file, whatever its name ends in.

    The pixels of a JPEG equal Pillow's. Gray, palette, CMYK and 16-bit images become RGB (16 bits keep their upper 8),
    transparency is dropped, the EXIF orientation is applied; of an animation, the first frame counts.

    Args:
        data: the file.
        name: what errors call it.

    Returns:
        uint8 [H,W,3].

    Raises:
        UnreadableImage: the bytes are no image, are damaged, or would decode to more than MAX_PIXELS.
    """
    try:
        return _decode(data)
    except _Refused as refusal:
        raise UnreadableImage(f"{name}: {refusal}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage(f"{name}: more than {MAX_PIXELS} pixels; scale it down") from None
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files
        raise UnreadableImage(f"{name}: damaged ({error}); restore or remove the file") from error


def decoded_size(data: bytes, name: str) -> tuple[int, int]:
    """Height and width of what `decode_image` returns, from the head of the file.

    Raises:
        UnreadableImage: the head is damaged or of no image; damage further on is found by `decode_image` alone.
    """
    try:
        image = _opened(data)
        width, height = image.size
        turned = not _upright(image) and image.getexif().get(_ORIENTATION) in _TURNED
    except _Refused as refusal:
        raise UnreadableImage(f"{name}: {refusal}") from None
    except Exception as error:  # as above
        raise UnreadableImage(f"{name}: damaged ({error}); restore or remove the file") from error
    return (width, height) if turned else (height, width)


class _Refused(Exception):
    """Why, without the name."""


def _opened(data: bytes) -> Image.Image:
    if not data:
        raise _Refused("empty, 0 bytes; restore or remove the file")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.UnidentifiedImageError:
        page = data[:512].lstrip().startswith(b"<")
        raise _Refused("a web page, not an image; download it again" if page else "not an image") from None
    if image.width * image.height > MAX_PIXELS:
        raise _Refused(f"{image.width} x {image.height} is more than {MAX_PIXELS} pixels; scale it down")
    return image


def _decode(data: bytes) -> np.ndarray:
    image = _opened(data)
    upright = _upright(image)
    if upright and image.format == "JPEG" and image.mode in ("RGB", "L"):
        try:
            return simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False)
        except ValueError:
            pass  # it refuses every warning of libjpeg; Pillow forgives those that leave the picture whole
    return np.asarray(_to_rgb(image if upright else ImageOps.exif_transpose(image)))


def _upright(image: Image.Image) -> bool:
    try:
        return image.getexif().get(_ORIENTATION, 1) == 1
    except Exception:  # EXIF that cannot be parsed says nothing about the pixels
        return True


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise _Refused("floating-point pixels have no agreed range; convert it to 8 bits")
    if image.mode.startswith("I"):  # 16-bit gray; Pillow's own conversion would clip at 255
        gray = np.asarray(image)
        if gray.min() < 0 or gray.max() > 65535:
            raise _Refused("32-bit pixels have no agreed range; convert it to 8 bits")
        image = Image.fromarray((gray >> 8).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # straight to RGB would warn
    return image.convert("RGB")
