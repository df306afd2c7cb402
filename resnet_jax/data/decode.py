"""Image files to pixels: JPEG through libjpeg-turbo, everything else through Pillow, never more than memory allows."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import simplejpeg
from PIL import Image, ImageOps

from resnet_jax.data.partial_jpeg import jpeg_head, upper_rows
from resnet_jax.errors import InputError

# A quarter of a GiB once decoded, and where Pillow itself begins to warn; a 12 KB PNG can claim to be larger. Images
# of ImageNet have 0.2 million (measured on 64).
MAX_PIXELS = 2**28 // 3

# The raster formats in use. Not EPS: Pillow hands it to Ghostscript, an interpreter that an image must not reach.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO", "TGA")

_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)  # orientations that exchange height and width


Box = tuple[int, int, int, int]  # top, left, height and width of a part of an image, in pixels


class UnreadableImage(InputError):
    """One image cannot be decoded: names the file and says why."""


def decode_image(data: bytes, name: str) -> np.ndarray:
    """Decode one image file, whatever its name ends in.

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
    with _named(name):
        return _decoded(data, _opened(data))


def decode_part(data: bytes, name: str, choose: Callable[[int, int], Box], fast: bool = False) -> np.ndarray:
    """Return a part of an image, pixel for pixel what `decode_image` has there.

    Of most JPEGs nothing below the part is decoded, a sixth of the work with random crops (measured on 64 images of
    ImageNet). Damage below it is then not noticed, but for a file that is cut short.

    Args:
        data: the file.
        name: what errors call it.
        choose: height and width of the whole image -> top, left, height and width of the part; called once.
        fast: take the faster and less exact of libjpeg's inverse cosine transforms, as tf.data does: values
            differ by 1.2 levels of 255 in the mean, by 9 or less in 99.9 % (measured as above).

    Returns:
        uint8 [h,w,3], as chosen.

    Raises:
        UnreadableImage: as `decode_image`.
    """
    head = jpeg_head(data)
    if head and (head.height * head.width > MAX_PIXELS or (head.may_turn and not is_plain_jpeg(data, name))):
        head = None
    if head is None:
        height, width = decoded_size(data, name)
    else:
        height, width = head.height, head.width
    top, left, part_height, part_width = choose(height, width)
    bottom, right = top + part_height, left + part_width
    pixels = upper_rows(data, head, bottom, fast) if head else None
    if pixels is None:
        pixels = decode_image(data, name)
    return pixels[top:bottom, left:right]


def decoded_size(data: bytes, name: str) -> tuple[int, int]:
    """Height and width of what `decode_image` returns, from the head of the file.

    Raises:
        UnreadableImage: the head is damaged or of no image; damage further on is found by `decode_image` alone.
    """
    with _named(name):
        return _size(_opened(data))


def is_plain_jpeg(data: bytes, name: str) -> bool:
    """Return whether an image is a JPEG of gray or YCbCr pixels that nothing turns: one of the fast way.

    Raises:
        UnreadableImage: as `decoded_size`.
    """
    with _named(name):
        return _is_plain_jpeg(_opened(data))


class _Refused(Exception):
    """Why, without the name."""


@contextmanager
def _named(name: str) -> Iterator[None]:
    """What goes wrong with one image is an UnreadableImage of that name."""
    try:
        yield
    except _Refused as refusal:
        raise UnreadableImage(f"{name}: {refusal}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage(f"{name}: more than {MAX_PIXELS} pixels; scale it down") from None
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files
        raise UnreadableImage(f"{name}: damaged ({error}); restore or remove the file") from error


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


def _decoded(data: bytes, image: Image.Image) -> np.ndarray:
    if _is_plain_jpeg(image):
        try:
            return simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False)
        except ValueError:
            pass  # it refuses every warning of libjpeg; Pillow forgives those that leave the picture whole
    return np.asarray(_to_rgb(image if _upright(image) else ImageOps.exif_transpose(image)))


def _is_plain_jpeg(image: Image.Image) -> bool:
    return image.format == "JPEG" and image.mode in ("RGB", "L") and _upright(image)


def _size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    turned = not _upright(image) and image.getexif().get(_ORIENTATION) in _TURNED
    return (width, height) if turned else (height, width)


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
