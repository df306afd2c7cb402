"""Print the most likely classes of image files by a network in an ONNX file: a script that needs no other file.

    python predict_onnx.py network.onnx photo.jpg other.png

It needs onnxruntime, numpy and Pillow. The file tells how its images are resized, cropped and normalized, and what its
classes are called, as `python -m experiments.export` writes it.
"""

import json
import math
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO", "TGA")
MAX_PIXELS = 2**29 // 6  # 89 million, as in the package
MAX_ASPECT = 64  # above, images are resized in part
NEEDED = ("image_size", "resize", "mean", "std", "interpolation")


class RefusedFile(Exception):
    """A file that cannot be read, or that is not what it should be: one line."""


def open_network(path: str | Path) -> tuple[Any, dict[str, Any]]:
    """Open an ONNX file: return the session of onnxruntime and the file's description.

    Raises:
        RefusedFile: it is missing, damaged, or has no description; or onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise RefusedFile("onnxruntime is not installed: pip install onnxruntime") from None
    if not Path(path).is_file():
        raise RefusedFile(f"{path}: there is no such file")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong is raised
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of many kinds
        reason = str(error).strip().splitlines()[-1][:200]
        raise RefusedFile(f"{path}: no ONNX file, or a damaged one ({reason}); export the network again") from error
    facts: dict[str, Any] = {k: _value(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    if len(session.get_outputs()[0].shape) != 2:
        raise RefusedFile(f"{path}: classifies pixels; this script prints the classes of whole images")
    if missing := [name for name in NEEDED if name not in facts]:
        raise RefusedFile(f"{path}: does not tell {', '.join(missing)}: it was not written by experiments.export")
    return session, facts


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def read_image(path: str | Path, facts: dict[str, Any]) -> np.ndarray:
    """Read an image file, upright, its shorter side resized and its center cropped: uint8 [size,size,3].

    Raises:
        RefusedFile: it is missing, no image, or too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(path, formats=FORMATS)
        with opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise RefusedFile(f"{path}: {opened.width} x {opened.height} pixels are too many to decode")
            opened.load()
            kind, twelve = opened.format, getattr(opened, "tag_v2", {}).get(258) == (12,)
            image = ImageOps.exif_transpose(opened)
    except FileNotFoundError:
        raise RefusedFile(f"{path}: No such file or directory") from None
    except RefusedFile:
        raise
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files
        raise RefusedFile(f"{path}: not an image that Pillow reads ({error})") from error
    if image.mode == "F" or (image.mode == "I" and kind != "PPM"):
        raise RefusedFile(f"{path}: its pixels have no agreed range; convert it to 8 bits")
    if image.mode.startswith("I"):  # 16-bit gray, of which a TIFF may use 12
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> (4 if twelve else 8)).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # straight to RGB would warn
    image, size, short = image.convert("RGB"), facts["image_size"], facts["resize"]
    width, height = image.size
    # As torchvision does: the longer side is rounded down.
    width, height = (int(short * width / height), short) if height <= width else (short, int(short * height / width))
    filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    left, top = round(max(0, width - size) / 2), round(max(0, height - size) / 2)
    window = (left, top, left + min(size, width), top + min(size, height))
    crop = np.asarray(_resized_window(image, (width, height), window, filters[facts["interpolation"]]))
    above, before = (size - crop.shape[0]) // 2, (size - crop.shape[1]) // 2
    after = ((above, size - crop.shape[0] - above), (before, size - crop.shape[1] - before), (0, 0))
    return np.pad(crop, after)


def _resized_window(
    image: Image.Image, size: tuple[int, int], window: tuple[int, int, int, int], filter: Image.Resampling
) -> Image.Image:
    """Resize an image to (width, height), and cut a window (left, top, right, bottom) out of the result."""
    if max(size) <= MAX_ASPECT * min(size):
        return image.resize(size, filter).crop(window)
    # Whole, 3 x 65,500 pixels would become 256 x 5.6 million. Cut first, with the reach of the widest filter, because
    # Pillow holds the box in single precision.
    cut, box = [], []
    for axis in (0, 1):
        scale = image.size[axis] / size[axis]
        start, end = window[axis] * scale, window[axis + 2] * scale
        margin = 3 * max(1.0, scale) + 1
        first, last = max(0, math.floor(start - margin)), min(image.size[axis], math.ceil(end + margin))
        cut.append((first, last))
        box.append((start - first, min(end - first, last - first)))
    part = image.crop((cut[0][0], cut[1][0], cut[0][1], cut[1][1]))
    shape = (window[2] - window[0], window[3] - window[1])
    return part.resize(shape, filter, (box[0][0], box[1][0], box[0][1], box[1][1]))


def scores(session: Any, facts: dict[str, Any], image: np.ndarray) -> np.ndarray:
    """Return the probabilities of the classes, [K], of an image uint8 [size,size,3]."""
    entrance = session.get_inputs()[0]
    if entrance.type == "tensor(uint8)":
        batch = image[None]
    else:
        normalized = (image.astype(np.float32) / 255 - np.float32(facts["mean"])) / np.float32(facts["std"])
        batch = normalized.transpose(2, 0, 1)[None]
    try:
        (logits,) = session.run(None, {entrance.name: batch})
    except Exception as error:  # of onnxruntime's own kinds
        raise RefusedFile(f"the network does not take images of {image.shape[:2]} pixels ({error})") from error
    exponentials = np.exp(logits[0] - logits[0].max())
    return exponentials / exponentials.sum()


def predict(path: str | Path, images: Sequence[str | Path], top: int = 5) -> list[dict[str, Any]]:
    """Return for each image file {"image", "classes": [{"class", "probability"}, …]}, the likeliest class first.

    Raises:
        RefusedFile: as `open_network` and `read_image`.
    """
    session, facts = open_network(path)
    found = []
    for image in images:
        p = scores(session, facts, read_image(image, facts))
        names = facts.get("class_names") or [f"class {k}" for k in range(len(p))]
        best = np.argsort(-p, kind="stable")[:top]
        found.append(
            {"image": str(image), "classes": [{"class": names[k], "probability": round(float(p[k]), 6)} for k in best]}
        )
    return found


def main(arguments: Sequence[str]) -> int:
    """Print the classes; return the exit status."""
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        predictions = predict(arguments[0], arguments[1:])
    except RefusedFile as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 1
    for prediction in predictions:
        print(prediction["image"])
        for entry in prediction["classes"]:
            print(f"  {entry['probability']:7.2%}  {entry['class']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
