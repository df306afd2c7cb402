"""Masks of image files by a trained network: palette PNGs, and overlays for the eye."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from resnet_jax.data.augment.resize import resize_mask, resize_short_side
from resnet_jax.data.decode import decode_image
from resnet_jax.data.sources.mask_coding import Color, MaskCoding, usual_color
from resnet_jax.errors import InputError
from resnet_jax.files.atomic import atomic_path
from resnet_jax.inference.tiles import jit_logits
from resnet_jax.inference.trained import Trained
from resnet_jax.inference.tta import build_apply
from resnet_jax.runtime.memory import memory_remedy
from resnet_jax.training.pixel_metrics import predicted_labels

OPACITY = 0.5  # of an overlay's colors


@dataclass(frozen=True)
class Segmented:
    """The mask of one picture.

    Attributes:
        image: uint8 [H,W,3].
        labels: uint8 [H,W] of classes, or [H,W,K] of 0 and 1 where classes may overlap.
        name: of the file.
    """

    image: np.ndarray
    labels: np.ndarray
    name: str


def coding_of(trained: Trained) -> MaskCoding:
    """Return the classes of a network's masks: those of its run, or else numbers in PASCAL VOC's colors.

    Raises:
        InputError: the network does not classify pixels, or its description of masks is damaged.
    """
    if "mask_coding" in trained.facts:
        stored = trained.facts["mask_coding"]
        try:
            lists = {name: tuple(value) for name, value in stored.items() if isinstance(value, list)}
            return MaskCoding(**(stored | lists | {"colors": tuple(tuple(color) for color in stored["colors"])}))
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{trained.source}: what it says of its masks cannot be read ({error!r})") from error
    if not trained.classifies_pixels:
        raise InputError(f"{trained.name} classifies images, not pixels")
    count = trained.num_classes
    names = trained.class_names or tuple(f"class {k}" for k in range(count))
    return MaskCoding(names, tuple(range(count)), (255,), tuple(map(usual_color, range(count))))


def threshold_of(trained: Trained, coding: MaskCoding) -> float | None:
    """Return the probability above which a pixel has a class; None where classes exclude each other."""
    if not coding.binary:
        return None
    return trained.run.threshold if trained.run is not None else trained.facts.get("threshold", 0.5)


def short_side_of(trained: Trained) -> int:
    """Return the shorter side to which a network for pixels has its pictures resized; 0: it sees them as they are."""
    return trained.run.eval_resize if trained.run is not None else trained.facts.get("eval_resize", 0)


def segment_images(
    trained: Trained, paths: Sequence[str | Path], tile: int = 0, margin: int = 32
) -> Iterator[Segmented]:
    """Yield the masks of image files, each of its picture's size; every file is read before the first.

    Args:
        trained: the network.
        paths: of the files.
        tile: side of the tiles, pixels; 0: whole pictures.
        margin: pixels around each tile.

    Raises:
        InputError: a file is missing or unreadable, or the memory does not suffice.
    """
    coding = coding_of(trained)
    labels_of = build_labeling(trained, coding, tile, margin)
    if len(paths) > 1:  # a file that cannot be read leaves no half of the masks behind
        for path in paths:
            read_picture(path)
    for path in paths:
        image = read_picture(path)
        yield Segmented(image, at_size_of(image, labels_of(image)), str(path))


def read_picture(path: str | Path) -> np.ndarray:
    """Return the pixels of an image file, uint8 [H,W,3].

    Raises:
        InputError: it is missing or unreadable.
    """
    try:
        return decode_image(Path(path).read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


def build_labeling(
    trained: Trained,
    coding: MaskCoding,
    tile: int = 0,
    margin: int = 32,
    remedy: str = "take tiles, --tile=512",
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from a picture, uint8 [H,W,3], to its labels at the size at which the network sees it.

    That is the picture's own but for a run with `--eval_resize`.

    Args:
        trained: the network.
        coding: of its masks.
        tile: as in `segment_images`.
        margin: likewise.
        remedy: where the memory does not suffice.
    """
    threshold, short = threshold_of(trained, coding), short_side_of(trained)
    kind = trained.preprocessing.interpolation
    logits_of = jit_logits(build_apply(trained.model, trained.views), tile, margin)
    variables = jax.device_put(trained.variables)
    decide = jax.jit(lambda logits: predicted_labels(logits, threshold))

    def labels_of(image: np.ndarray) -> np.ndarray:
        seen = resize_short_side(image, short, kind) if short else image
        batch = trained.preprocessing.normalize({"image": seen[None]})
        with memory_remedy(lambda: remedy):
            return np.asarray(decide(logits_of(variables, batch["image"])))[0].astype(np.uint8)

    return labels_of


def at_size_of(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return labels at the size of their picture [H,W,3]."""
    return labels if labels.shape[:2] == image.shape[:2] else resize_mask(labels, *image.shape[:2])


def write_masks(found: Segmented, coding: MaskCoding, folder: Path) -> list[Path]:
    """Write STEM.png, one for each class where classes may overlap, and STEM_overlay.jpg; return their paths.

    A mask's pixels are the values of the training masks, with the classes' colors as its palette; the numbers of the
    classes where these are in colors; and 0 and 255 where every class has masks of its own.

    Raises:
        InputError: they cannot be written.
    """
    *masks, shown = mask_paths(found.name, coding, folder)
    layers = [found.labels[..., k] for k in range(len(masks))] if coding.binary else [found.labels]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, labels in zip(masks, layers, strict=True):
            with atomic_path(path) as temporary:
                palette_image(labels, coding).save(temporary, "PNG")
        with atomic_path(shown) as temporary:
            Image.fromarray(overlay_mask(found.image, found.labels, coding)).save(temporary, "JPEG", quality=90)
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}); name another, --out=FOLDER") from error
    return [*masks, shown]


def mask_paths(picture: str | Path, coding: MaskCoding, folder: Path) -> list[Path]:
    """Return the files that `write_masks` writes of a picture: its masks, and the overlay."""
    stem = Path(picture).stem
    several = coding.binary and len(coding.class_names) > 1
    names = [f"{stem}_{name}" for name in coding.class_names] if several else [stem]
    return [*(folder / f"{name}.png" for name in names), folder / f"{stem}_overlay.jpg"]


def check_outputs(pictures: Sequence[str | Path], coding: MaskCoding, folder: Path) -> None:
    """Refuse to write masks over the pictures, over those of a data set, or over each other, before any is computed.

    Raises:
        InputError: a mask's file is one of the pictures, the folder is `masks` beside `images` or lies in it, or two
            pictures have one name.
    """
    inside = (folder.resolve(), folder.resolve().parent)  # masks/, and masks/CLASS
    if any(path.name == "masks" and (path.parent / "images").is_dir() for path in inside):
        raise InputError(f"--out={folder} holds the masks of a data set; name another folder, --out=FOLDER")
    sources = {Path(picture).resolve() for picture in pictures}
    picture_of: dict[Path, str | Path] = {}
    for picture in pictures:
        for path in mask_paths(picture, coding, folder):
            if path.resolve() in sources:
                raise InputError(f"{path} would be replaced by a mask; name another folder, --out=FOLDER")
            if path in picture_of and Path(picture).resolve() != Path(picture_of[path]).resolve():
                raise InputError(f"the masks of {picture_of[path]} and {picture} are both {path}; give one at a time")
            picture_of[path] = picture


def palette_image(labels: np.ndarray, coding: MaskCoding) -> Image.Image:
    """Return labels uint8 [H,W] as a palette picture with the values of the training masks."""
    if coding.binary:
        values: Sequence[int] = (0, coding.values[0])
        colors: Sequence[Color] = ((0, 0, 0), coding.colors[0])
    else:
        values = range(len(coding.class_names)) if coding.in_colors else coding.values
        colors = coding.colors
    image = Image.fromarray(np.array(values, np.uint8)[labels], "P")
    palette = np.zeros((256, 3), np.uint8)
    palette[list(values)] = np.array(colors, np.uint8)
    image.putpalette(palette.tobytes())
    return image


def overlay_mask(image: np.ndarray, labels: np.ndarray, coding: MaskCoding) -> np.ndarray:
    """Return a picture uint8 [H,W,3] under the colors of its labels; what has no class stays as it is."""
    if not coding.binary:
        colors = np.array(coding.colors, np.float32)[labels.clip(max=len(coding.colors) - 1)]
        shown = labels < len(coding.colors)
    else:
        shown = (labels == 1).any(axis=-1)
        colors = np.array(shown_colors(coding), np.float32)[(labels == 1).argmax(axis=-1)]
    mixed = image * (1 - OPACITY) + colors * OPACITY
    return np.where(shown[..., None], mixed, image).round().astype(np.uint8)


def shown_colors(coding: MaskCoding) -> tuple[Color, ...]:
    """Return the color of each class on a picture; masks of two values are white on black, which would hide it."""
    count = len(coding.class_names)
    return tuple(usual_color(k + 1) for k in range(count)) if coding.binary else coding.colors


def class_shares(found: Segmented, coding: MaskCoding) -> list[tuple[str, float]]:
    """Return the classes that a mask has, with their share of the pixels, the largest first."""
    if coding.binary:
        shares = (found.labels == 1).mean(axis=(0, 1))
    else:
        shares = np.bincount(found.labels.ravel(), minlength=len(coding.class_names)) / found.labels.size
    named = [(name, float(share)) for name, share in zip(coding.class_names, shares, strict=False) if share > 0]
    return sorted(named, key=lambda pair: -pair[1])
