"""Image files to pixels: JPEG through libjpeg-turbo, everything else through Pillow, within one limit on memory."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image

from resnet_jax.data.jpeg import CorruptJpeg, jpeg_pixels
from resnet_jax.data.orientation import UPRIGHT, has_late_metadata, orientation, transposes, upright
from resnet_jax.data.partial_jpeg import jpeg_header, upper_rows
from resnet_jax.errors import InputError

# Pillow's name of a JPEG that is followed by further pictures, of which the first counts; its opener is that of JPEG.
MULTI_PICTURE = "MPO"

_JPEG = ("JPEG", MULTI_PICTURE)

# Memory that decoding one image may take, the result included: a 12 KB file can claim to be larger than any memory.
MAX_DECODE_BYTES = 2**29

# Most bytes a pixel that decoding takes (measured on files of 16 megapixels): 3 of the result, and the memory of codec
# and Pillow beside it. A JPEG of one sequential scan is decoded row by row, others hold all coefficients.
_SEQUENTIAL_JPEG = 6
_BYTES_PER_PIXEL = {"JPEG": 12, MULTI_PICTURE: 12, "TIFF": 16, "WEBP": 16, "AVIF": 16, "JPEG2000": 20}
_OTHER_FORMATS = 8

# The most pixels of any image, 89 million. Images of ImageNet have 0.2 million (measured on 64).
MAX_PIXELS = MAX_DECODE_BYTES // _SEQUENTIAL_JPEG

# The raster formats in use. Not EPS: Pillow opens it with Ghostscript, an interpreter that an image must not reach.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO", "TGA")

_ICON = b"\0\0\1\0"
_PNG = b"\x89PNG\r\n\x1a\n"
_BAND = 2**20  # pixels that are converted to RGB at a time

Box = tuple[int, int, int, int]  # top, left, height and width of a part of an image, in pixels


class UnreadableImage(InputError):
    """An image that cannot be decoded: its file, and why."""

    def with_resume_hint(self) -> "UnreadableImage":
        """Return the error with what becomes of a run or a preparation under way, which knows its set by the names."""
        return UnreadableImage(
            f"{self}; replace it under the same name, and the same command continues; without it, the set is another "
            "one and needs a new folder"
        )


def decode_image(data: bytes, name: str) -> np.ndarray:
    """Decode one image file; its content decides the format, not its name.

    The pixels of a JPEG equal Pillow's. Gray, palette, CMYK and 16-bit images become RGB (16 bits keep their upper 8),
    transparency is dropped, the EXIF orientation is applied; of an animation, the first frame counts. What Pillow
    refuses is refused, and so is a JPEG of whose data libjpeg warns (but for unusual subsampling, where libjpeg-turbo
    cannot check).

    Args:
        data: the file.
        name: of the file, for errors.

    Returns:
        uint8 [H,W,3].

    Raises:
        UnreadableImage: the bytes are not an image, are damaged, hold values without an agreed range, or would take
            more than MAX_DECODE_BYTES to decode.
    """
    with _errors_named(name):
        return _decoded(data, _opened(data))


def decode_part(
    data: bytes, name: str, choose: Callable[[int, int], Box], fast: bool = False, intact: bool = False
) -> np.ndarray:
    """Decode a part of an image, pixel for pixel as `decode_image` does.

    Args:
        data: the file.
        name: of the file, for errors.
        choose: height and width of the whole image -> top, left, height and width of the part; called once.
        fast: use the faster and less exact of libjpeg's inverse cosine transforms, as tf.data does: values differ by
            1.2 levels of 255 in the mean, by 9 or less in 99.9 % (measured on 64 images of ImageNet).
        intact: the file is known to be whole, so that the rows of a JPEG below the part need not be decoded to check
            it: a sixth of the work with random crops (measured as above).

    Returns:
        uint8 [h,w,3], as chosen.

    Raises:
        UnreadableImage: as `decode_image`; with `intact`, damage below the part may not be noticed.
    """
    header = jpeg_header(data)
    if header and (header.height * header.width > MAX_PIXELS or (header.may_turn and not is_plain_jpeg(data, name))):
        header = None
    if header is None:
        pixels = decode_image(data, name)
        top, left, height, width = choose(*pixels.shape[:2])
    else:
        top, left, height, width = choose(header.height, header.width)
        pixels = upper_rows(data, header, top + height if intact else header.height, fast)
        if pixels is None:
            pixels = decode_image(data, name)
    return pixels[top : top + height, left : left + width]


def decoded_size(data: bytes, name: str) -> tuple[int, int]:
    """Return height and width of the result of `decode_image`, from the header of the file.

    Raises:
        UnreadableImage: the header is damaged or of no image, or the image is too large. Damage further on is found by
            `decode_image` alone.
    """
    with _errors_named(name):
        if has_late_metadata(data):
            height, width = _decoded(data, _opened(data)).shape[:2]
            return height, width
        image = _opened(data)
        width, height = image.size
        return (width, height) if transposes(orientation(image)) else (height, width)


def is_plain_jpeg(data: bytes, name: str) -> bool:
    """Return whether an image is a JPEG of gray or YCbCr pixels that are stored upright.

    Raises:
        UnreadableImage: as `decoded_size`.
    """
    with _errors_named(name):
        image = _opened(data)
        return image.format == "JPEG" and image.mode in ("RGB", "L") and orientation(image) == UPRIGHT


class _RefusedImage(Exception):
    """A reason without the file's name."""


@contextmanager
def _errors_named(name: str) -> Iterator[None]:
    """Raise every error of an image as an UnreadableImage that names it."""
    try:
        yield
    except _RefusedImage as refusal:
        raise UnreadableImage(f"{name}: {refusal}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage(f"{name}: more than {MAX_PIXELS} pixels; scale it down") from None
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableImage(f"{name}: damaged ({reason}); restore the file") from error


def _opened(data: bytes) -> Image.Image:
    """Open an image file whose header is valid, and which is not too large to decode."""
    if not data:
        raise _RefusedImage("empty, 0 bytes; restore the file")
    if data.startswith(_ICON):  # Pillow decodes icons on opening
        _check_limit(*_icon_size(data), "ICO", _OTHER_FORMATS)
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.UnidentifiedImageError:
        page = data[:512].lstrip().startswith(b"<")
        raise _RefusedImage("a web page, not an image; download it again" if page else "not an image") from None
    cost = _BYTES_PER_PIXEL.get(image.format or "", _OTHER_FORMATS)
    if image.format in _JPEG and jpeg_header(data):
        cost = _SEQUENTIAL_JPEG
    _check_limit(*image.size, image.format, cost)
    return image


def _check_limit(width: int, height: int, kind: str | None, cost: int) -> None:
    if width * height > (limit := MAX_DECODE_BYTES // cost):
        raise _RefusedImage(
            f"{width} x {height} is more than {limit} pixels, the limit of {kind} files (decoding takes up to {cost} "
            f"bytes a pixel, {MAX_DECODE_BYTES // 2**20} MiB in all); scale it down"
        )


def _icon_size(data: bytes) -> tuple[int, int]:
    """Return width and height of the largest image in an icon, which its directory may understate."""
    sizes = [(0, 0)]
    for entry in range(6, 6 + 16 * int.from_bytes(data[4:6], "little"), 16):
        at = int.from_bytes(data[entry + 12 : entry + 16], "little")
        if data[at : at + 8] == _PNG:
            sizes.append((int.from_bytes(data[at + 16 : at + 20]), int.from_bytes(data[at + 20 : at + 24])))
        else:  # a bitmap, with its mask below it
            width, height = (int.from_bytes(data[i : i + 4], "little", signed=True) for i in (at + 4, at + 8))
            sizes.append((abs(width), abs(height) // 2))
    return max(sizes, key=lambda size: size[0] * size[1])


def _decoded(data: bytes, image: Image.Image) -> np.ndarray:
    if image.format in _JPEG:
        pixels = _jpeg(data, image)
    else:
        # Before all else: the methods that load on demand lose errors, and leave black pixels.
        image.load()
        pixels = _rgb(image)
    turn = orientation(image)
    del image  # before the pixels may be copied
    return upright(pixels, turn)


def _jpeg(data: bytes, image: Image.Image) -> np.ndarray:
    try:
        pixels = jpeg_pixels(data, "CMYK" if image.mode == "CMYK" else "RGB")
    except CorruptJpeg as error:
        raise _RefusedImage(f"damaged ({error}); restore the file") from error
    if pixels is not None and image.mode != "CMYK":
        return pixels
    del pixels  # of CMYK, Pillow's conversion counts
    image.load()
    return _rgb(image)


def _rgb(image: Image.Image) -> np.ndarray:
    """Convert a loaded image to uint8 [H,W,3], in bands: whole, Pillow would copy it three times."""
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    band = max(1, _BAND // min(width, height))
    for start in range(0, max(width, height), band):
        if height >= width:
            stop = min(start + band, height)
            pixels[start:stop] = _band_rgb(image, (0, start, width, stop))
        else:
            stop = min(start + band, width)
            pixels[:, start:stop] = _band_rgb(image, (start, 0, stop, height))
    return pixels


def _band_rgb(image: Image.Image, box: Box) -> np.ndarray:
    mode = image.mode
    if mode == "F":
        raise _RefusedImage("floating-point pixels have no agreed range; convert it to 8 bits")
    if mode == "I" and image.format != "PPM":  # whose range Pillow knows, and scales to 16 bits
        raise _RefusedImage("32-bit pixels have no agreed range; convert it to 8 bits")
    band = image.crop(box)
    if mode.startswith("I"):  # 16-bit gray; Pillow's own conversion would clip at 255
        gray = np.asarray(band).astype(np.int64) >> _surplus_bits(image)
        return np.repeat(gray.astype(np.uint8)[..., None], 3, 2)
    if mode == "P" and "transparency" in image.info:
        band = band.convert("RGBA")  # straight to RGB would warn
    return np.asarray(band if band.mode == "RGB" else band.convert("RGB"))


def _surplus_bits(image: Image.Image) -> int:
    """Return the bits of 16-bit gray beyond 8; Pillow does not scale the 12 bits of a TIFF."""
    twelve = image.format == "TIFF" and getattr(image, "tag_v2", {}).get(258) == (12,)
    return 4 if twelve else 8
