"""Operations of the augmentation policies, each with an explicit magnitude: RGB Pillow image in and out.

The names are those of timm and torchvision. Where Pillow has the operation it does the work, and the result equals that
of both libraries bit for bit (tests/parity/test_image_ops.py).
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from PIL import Image, ImageEnhance, ImageFilter, ImageOps

Color = tuple[int, int, int]

BLACK: Color = (0, 0, 0)
NEAREST, BILINEAR, BICUBIC = Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC


class Step(NamedTuple):
    """One operation of a policy, with all random choices made."""

    name: str
    magnitude: float = 0.0
    resample: Image.Resampling = NEAREST


def apply_steps(image: Image.Image, steps: Iterable[Step], fill: Color = BLACK) -> Image.Image:
    """Apply the steps in their order; `fill` is the color beyond the edges."""
    for step in steps:
        image = apply(image, step.name, step.magnitude, step.resample, fill)
    return image


def apply(
    image: Image.Image, name: str, magnitude: float = 0.0, resample: Image.Resampling = NEAREST, fill: Color = BLACK
) -> Image.Image:
    """Apply the operation of that name.

    Args:
        image: RGB.
        name: a key of FIXED, TONES or GEOMETRY.
        magnitude: in the unit that the operation's docstring gives; those of FIXED have none.
        resample: Pillow's filter, for those of GEOMETRY.
        fill: color beyond the edges, for those of GEOMETRY.

    Returns:
        RGB, of the same size.
    """
    if name in FIXED:
        return FIXED[name](image)
    if name in TONES:
        return TONES[name](image, magnitude)
    return GEOMETRY[name](image, magnitude, resample, fill)


def identity(image: Image.Image) -> Image.Image:
    """Return the image unchanged."""
    return image


def auto_contrast(image: Image.Image) -> Image.Image:
    """Stretch each channel so that its darkest value becomes 0 and its brightest 255."""
    return ImageOps.autocontrast(image)


def equalize(image: Image.Image) -> Image.Image:
    """Map each channel so that its values are spread as evenly as a monotonic map allows."""
    return ImageOps.equalize(image)


def invert(image: Image.Image) -> Image.Image:
    """Replace every value v by 255 - v."""
    return ImageOps.invert(image)


def gray(image: Image.Image) -> Image.Image:
    """Return the luma 0.299 R + 0.587 G + 0.114 B in all three channels."""
    return image.convert("L").convert("RGB")


def posterize(image: Image.Image, bits: float) -> Image.Image:
    """Keep the highest `bits` bits of every value: none (black) for 0 and less, all for 8 and more."""
    # Pillow 13's own raises for 0 bits, which timm's tables ask for at their strongest levels.
    mask = 256 - (1 << (8 - max(0, min(8, int(bits)))))
    return image.point([value & mask for value in range(256)] * 3)


def solarize(image: Image.Image, threshold: float) -> Image.Image:
    """Invert the values of `threshold` and above; 256 leaves the image unchanged, 0 inverts all of it."""
    return image.point([value if value < threshold else 255 - value for value in range(256)] * 3)


def solarize_add(image: Image.Image, amount: float) -> Image.Image:
    """Raise the values below 128 by `amount`, at most to 255."""
    amount = int(amount)
    return image.point([min(255, value + amount) if value < 128 else value for value in range(256)] * 3)


def color(image: Image.Image, factor: float) -> Image.Image:
    """Change the saturation: 0 is gray, 1 the image, more is beyond it."""
    return ImageEnhance.Color(image).enhance(factor)


def contrast(image: Image.Image, factor: float) -> Image.Image:
    """Change the contrast: 0 is the mean luma everywhere, 1 the image, more is beyond it."""
    return ImageEnhance.Contrast(image).enhance(factor)


def brightness(image: Image.Image, factor: float) -> Image.Image:
    """Change the brightness: 0 is black, 1 the image, more is beyond it."""
    return ImageEnhance.Brightness(image).enhance(factor)


def sharpness(image: Image.Image, factor: float) -> Image.Image:
    """Change the sharpness: 0 is smoothed over 3 x 3 pixels, 1 the image, more is beyond it."""
    return ImageEnhance.Sharpness(image).enhance(factor)


def hue(image: Image.Image, turn: float) -> Image.Image:
    """Rotate the hue by `turn` of the color circle, -0.5 to 0.5, in Pillow's 8-bit HSV."""
    hues, saturation, value = image.convert("HSV").split()
    shift = int(turn * 255)
    hues = hues.point([(angle + shift) % 256 for angle in range(256)])
    return Image.merge("HSV", (hues, saturation, value)).convert("RGB")


def gaussian_blur(image: Image.Image, radius: float) -> Image.Image:
    """Blur with a standard deviation of `radius` pixels (Pillow's three box filters)."""
    return image.filter(ImageFilter.GaussianBlur(radius))


def shear_x(
    image: Image.Image, factor: float, resample: Image.Resampling = NEAREST, fill: Color = BLACK
) -> Image.Image:
    """Move row y to the left by factor * (y + 1/2) pixels: the top edge stays."""
    return _affine(image, (1, factor, 0, 0, 1, 0), resample, fill)


def shear_y(
    image: Image.Image, factor: float, resample: Image.Resampling = NEAREST, fill: Color = BLACK
) -> Image.Image:
    """Move column x up by factor * (x + 1/2) pixels: the left edge stays."""
    return _affine(image, (1, 0, 0, factor, 1, 0), resample, fill)


def translate_x(
    image: Image.Image, pixels: float, resample: Image.Resampling = NEAREST, fill: Color = BLACK
) -> Image.Image:
    """Move the image to the right by so many pixels."""
    return _affine(image, (1, 0, -pixels, 0, 1, 0), resample, fill)


def translate_y(
    image: Image.Image, pixels: float, resample: Image.Resampling = NEAREST, fill: Color = BLACK
) -> Image.Image:
    """Move the image down by so many pixels."""
    return _affine(image, (1, 0, 0, 0, 1, -pixels), resample, fill)


def translate_x_rel(
    image: Image.Image, part: float, resample: Image.Resampling = NEAREST, fill: Color = BLACK
) -> Image.Image:
    """Move the image to the right by that part of the width."""
    return translate_x(image, part * image.width, resample, fill)


def translate_y_rel(
    image: Image.Image, part: float, resample: Image.Resampling = NEAREST, fill: Color = BLACK
) -> Image.Image:
    """Move the image down by that part of the height."""
    return translate_y(image, part * image.height, resample, fill)


def rotate(
    image: Image.Image, degrees: float, resample: Image.Resampling = NEAREST, fill: Color = BLACK
) -> Image.Image:
    """Rotate counter-clockwise around the center; the size stays."""
    return image.rotate(degrees, resample, fillcolor=fill)


def _affine(image: Image.Image, matrix: tuple[float, ...], resample: Image.Resampling, fill: Color) -> Image.Image:
    """Return an image whose pixel (x, y) is the pixel (a x + b y + c, d x + e y + f) of the original."""
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample, fillcolor=fill)


FIXED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "Identity": identity,
    "AutoContrast": auto_contrast,
    "Equalize": equalize,
    "Invert": invert,
    "Gray": gray,
}
TONES: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "Posterize": posterize,
    "Solarize": solarize,
    "SolarizeAdd": solarize_add,
    "Color": color,
    "Contrast": contrast,
    "Brightness": brightness,
    "Sharpness": sharpness,
    "Hue": hue,
    "GaussianBlur": gaussian_blur,
}
GEOMETRY: dict[str, Callable[[Image.Image, float, Image.Resampling, Color], Image.Image]] = {
    "ShearX": shear_x,
    "ShearY": shear_y,
    "TranslateX": translate_x,
    "TranslateY": translate_y,
    "TranslateXRel": translate_x_rel,
    "TranslateYRel": translate_y_rel,
    "Rotate": rotate,
}
