"""Classes of a mask file by its pixels: palette or gray values, or colors."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from resnet_jax.data.decode import MAX_PIXELS, UnreadableImage
from resnet_jax.errors import InputError
from resnet_jax.runtime.batch import IGNORE

VOID_NAMES = ("void", "ignore", "unlabeled")
LOSSLESS = ("PNG", "BMP", "TIFF", "GIF", "WEBP", "PPM")
MOST_CLASSES = 255
NO_CLASS = -1

Color = tuple[int, int, int]


@dataclass(frozen=True)
class MaskCoding:
    """The classes of a set of masks.

    Attributes:
        class_names: K names.
        values: what stands in a mask for each class, a value from 0 to 255 or a color as r * 65536 + g * 256 + b; of
            binary masks, the values that mean yes.
        void: values or colors of pixels that do not count.
        colors: of each class, to draw it.
        in_colors: masks are RGB pictures.
        binary: a pixel has any of the K classes or none; K is 1 of masks of two values, and more where every class has
            masks of its own.
    """

    class_names: tuple[str, ...]
    values: tuple[int, ...]
    void: tuple[int, ...]
    colors: tuple[Color, ...]
    in_colors: bool = False
    binary: bool = False

    def labels(self, raw: np.ndarray, name: str) -> np.ndarray:
        """Return the labels uint8 [H,W] of a mask's values, IGNORE where it is void.

        Args:
            raw: of `read_mask`.
            name: of the file, for errors.

        Raises:
            InputError: a value is not a class.
        """
        if self.binary:
            if len(self.values) > 1 and all((raw == value).any() for value in self.values):
                shown = " and ".join(self._shown(value) for value in sorted(self.values))
                raise InputError(f"{name} has both {shown}, which both mean yes; write one of them, and 0 for no")
            values = np.array([0, *self.values])
            targets = (values > 0).astype(np.uint8)
        else:
            values, targets = np.array(self.values), np.arange(len(self.values), dtype=np.uint8)
        kept = ~np.isin(values, self.void)
        values, targets = values[kept], targets[kept]
        values = np.concatenate([values, np.array(self.void, values.dtype)])
        targets = np.concatenate([targets, np.full(len(self.void), IGNORE, np.uint8)])
        if not self.in_colors and raw.min() >= 0 and raw.max() < 256:
            table = np.full(256, NO_CLASS, np.int32)
            table[values] = np.arange(len(values))
            found = table[raw]
            unknown = found == NO_CLASS
        else:
            order = np.argsort(values)
            found = order[np.searchsorted(values, raw, sorter=order).clip(max=len(values) - 1)]
            unknown = values[found] != raw
        if unknown.any():
            seen, counts = np.unique(raw[unknown], return_counts=True)
            remedy = "name it in --colors=FILE, or --void_value"
            if self.binary:
                remedy = "write masks in gray with these values, or name one that does not count, --void_value"
            raise InputError(
                f"{name} has {counts[0]:,} pixels of {self._shown(seen[0])}, which is not a class"
                f"{f', and {len(seen) - 1} more such values' if len(seen) > 1 else ''}; known are "
                f"{', '.join(self._shown(v) for v in sorted(values)[:12])}; {remedy}"
            )
        return targets[found]

    def _shown(self, value: int) -> str:
        return f"color {value >> 16} {value >> 8 & 255} {value & 255}" if self.in_colors else f"value {value}"


def read_mask(data: bytes, name: str, in_colors: bool = False) -> tuple[np.ndarray, list[Color] | None]:
    """Read a mask file: int32 [H,W], palette or gray values or colors as in `MaskCoding.values`; and its palette.

    Args:
        data: the file.
        name: of the file, for errors.
        in_colors: return colors of any file: programs that make PNGs smaller write few colors with a palette or in
            gray.

    Raises:
        UnreadableImage: it is damaged, no picture without losses, or has values above 255.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.format not in LOSSLESS:
                raise UnreadableImage(f"{name} is a {image.format}, which changes values; write masks as PNG")
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableImage(f"{name} has {image.width} x {image.height} pixels, more than {MAX_PIXELS:,}")
            if image.mode in ("P", "L", "1") and not in_colors:
                palette = image.getpalette() if image.mode == "P" else None
                colors = [tuple(palette[i : i + 3]) for i in range(0, len(palette), 3)] if palette else None
                values = np.asarray(image)
                return values.astype(np.int32) * (255 if image.mode == "1" else 1), colors  # pyrefly: ignore
            if image.mode in ("RGB", "RGBA") or (in_colors and image.mode in ("P", "PA", "L", "LA", "1")):
                r, g, b = np.moveaxis(np.asarray(image.convert("RGB"), np.int32), -1, 0)
                return (r << 16) + (g << 8) + b, None
            if image.mode.startswith("I"):
                values = np.asarray(image).astype(np.int64)
                if values.min() >= 0 and values.max() <= 255:
                    return values.astype(np.int32), None
            raise UnreadableImage(f"{name} has pixels of type {image.mode}; write masks with values from 0 to 255")
    except UnreadableImage:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"{name} cannot be read: it is not an image; write it again") from error
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files
        raise UnreadableImage(f"{name} cannot be read ({error}); write it again") from error


def coding_of_file(path: Path, void_value: int) -> MaskCoding:
    """Return the classes that a text file names, one a line: `R G B NAME`, or `VALUE NAME`; # begins a comment.

    The names void, ignore and unlabeled are of pixels that do not count.

    Args:
        path: the file.
        void_value: a further value that does not count, of masks without colors.

    Raises:
        InputError: it cannot be read, names fewer than two classes, or one twice.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--colors={path} cannot be read ({getattr(error, 'strerror', error)})") from error
    entries: list[tuple[int, str, Color | None]] = []
    kinds = set()
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        numbers = words[:3] if len(words) > 3 and all(w.isdecimal() for w in words[:3]) else words[:1]
        label = " ".join(words[len(numbers) :])
        if not label or not all(w.isdecimal() and int(w) <= 255 for w in numbers):
            raise InputError(f"--colors={path}, line {number}: {line.strip()!r} is neither R G B NAME nor VALUE NAME")
        color = tuple(map(int, numbers)) if len(numbers) == 3 else None
        value = (color[0] << 16) + (color[1] << 8) + color[2] if color else int(numbers[0])
        kinds.add(len(numbers))
        entries.append((value, label, color))  # pyrefly: ignore
    classes = [entry for entry in entries if entry[1].lower() not in VOID_NAMES]
    if len(classes) > MOST_CLASSES:
        raise InputError(f"--colors={path} names {len(classes)} classes; {MOST_CLASSES} are the most")
    if not classes:
        raise InputError(f"--colors={path} names no class; write one a line: R G B NAME, or VALUE NAME")
    if len(classes) == 1:
        raise InputError(
            f"--colors={path} names one class, {classes[0][1]}, which every pixel would have; name the background too "
            f"({', '.join(VOID_NAMES)} are names of pixels that do not count)"
        )
    if len(kinds) > 1:
        raise InputError(f"--colors={path} mixes R G B NAME and VALUE NAME; masks have colors or values")
    for what, found in (("value", [str(e[0]) for e in entries]), ("name", [e[1] for e in classes])):
        if twice := next((x for x in found if found.count(x) > 1), None):
            raise InputError(f"--colors={path} has the {what} {twice} twice; remove one of them")
    in_colors = kinds == {3}
    void = [e[0] for e in entries if e[1].lower() in VOID_NAMES]
    values = [e[0] for e in classes]
    if not in_colors and void_value not in values:
        void.append(void_value)
    colors = [e[2] or usual_color(number) for number, e in enumerate(classes)]
    return MaskCoding(tuple(e[1] for e in classes), tuple(values), tuple(dict.fromkeys(void)), tuple(colors), in_colors)


def coding_of_values(values: Sequence[int], palette: Sequence[Color] | None, void_value: int) -> MaskCoding:
    """Return the classes of masks that nothing describes.

    Two values, 0 and 255 or 0 and 1, are one class, "foreground", and the rest; otherwise every value up to the highest
    is a class.

    Args:
        values: that occur in the masks, each once.
        palette: of the masks; None without one.
        void_value: does not count.

    Raises:
        InputError: nothing counts, all has one value, or there are too many.
    """
    seen = set(values)
    usual_void = void_value == IGNORE  # 255 is foreground beside 0 alone; another value that is named is void
    if seen in ({0, 255}, {0, 1}, {255}, {1}) and seen != {void_value} and (usual_void or void_value not in seen):
        void = (void_value,) if max(seen) == 1 and void_value > 1 else ()  # other splits may have such pixels
        return MaskCoding(("foreground",), (max(seen),), void, ((255, 255, 255),), binary=True)
    counted = sorted(seen - {void_value})
    if not counted:
        raise InputError(f"the masks have no value but {void_value}, which does not count; see --void_value")
    if counted[-1] >= MOST_CLASSES:
        raise InputError(f"the masks have a value {counted[-1]}; more than {MOST_CLASSES} classes need --colors=FILE")
    classes = [k for k in range(counted[-1] + 1) if k != void_value]
    if len(classes) == 1:
        raise InputError(f"every pixel of the masks that counts has the value {classes[0]}; there is nothing to learn")
    names = tuple(f"class {k}" for k in classes)
    colors = tuple(palette[k] if palette and k < len(palette) else usual_color(k) for k in classes)
    return MaskCoding(names, tuple(classes), (void_value,), colors)


def usual_color(k: int) -> Color:
    """Return the color of class k in PASCAL VOC's palette, whose bits are spread over red, green and blue."""
    channels = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            channels[channel] |= (k >> (3 * place + channel) & 1) << (7 - place)
    return channels[0], channels[1], channels[2]
