"""Print the most likely classes of image files; of a network that classifies pixels, write their masks.

    python -m experiments.predict --workdir=RUN photo.jpg other.png
    python -m experiments.predict --workdir=RUN --json *.jpg
    python -m experiments.predict --workdir=SEGMENTATION_RUN --out=FOLDER *.jpg
    python -m experiments.predict --model=resnet50 photo.jpg
    python -m experiments.predict --model=resnet20_cifar --weights=resnet20-12fca82f.th photo.jpg
    python -m experiments.predict --onnx=network.onnx photo.jpg

The files may be of any size: JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, JPEG 2000, AVIF, ICO or TGA.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import tyro

from resnet_jax.cli import parse_options, refuse_given, run_command
from resnet_jax.errors import InputError
from resnet_jax.export import predict_onnx
from resnet_jax.inference.predict import NO_IMAGES, predict
from resnet_jax.inference.segment import check_outputs, class_shares, coding_of, segment_images, write_masks
from resnet_jax.inference.trained import Trained
from resnet_jax.inference.which_network import WhichNetwork, load_named

CLASSIFIER_OPTIONS = ("json", "top", "batch_size", "image_size", "resize")
SEGMENTER_OPTIONS = ("out", "tile", "tile_margin")


@dataclass(frozen=True, kw_only=True)
class Options(WhichNetwork):
    """Options."""

    images: tyro.conf.Positional[tuple[str, ...]]
    """Image files of any format and size"""
    onnx: str = ""
    """Instead of a run: a file that experiments.export wrote"""
    top: int = 5
    """Number of classes to print"""
    batch_size: int = 64
    """Images at once; the result does not depend on it"""
    json: bool = False
    """Print one JSON list instead of text"""
    out: str = "predicted_masks"
    """Folder for masks and overlays, of a network that classifies pixels"""
    tile: int = 0
    """Side of tiles, of such a network. 0: whole pictures"""
    tile_margin: int = 32
    """Pixels around each tile that the network sees"""


def main(argv: Sequence[str]) -> None:
    """Predict, and print the classes."""
    options = parse_options(Options, argv, "predict", __doc__)
    if options.onnx:
        show(predict_exported(options), options)
        return
    trained = load_named(options)
    if trained.classifies_pixels:
        refuse_given(options, CLASSIFIER_OPTIONS, "for networks that classify images, not pixels")
        write_all_masks(trained, options)
        return
    refuse_given(options, SEGMENTER_OPTIONS, "for networks that classify pixels")
    show(predict(trained, options.images, options.top, options.batch_size), options)


def write_all_masks(trained: Trained, options: Options) -> None:
    """Write the masks of all images, and print where they are and what is in them.

    Raises:
        InputError: there are no images, one cannot be read, or a mask would replace a picture or another mask.
    """
    if not options.images:
        raise InputError(NO_IMAGES)
    coding, folder = coding_of(trained), Path(options.out)
    check_outputs(options.images, coding, folder)
    for found in segment_images(trained, options.images, options.tile, options.tile_margin):
        print(f"{found.name}: {', '.join(map(str, write_masks(found, coding, folder)))}")
        for name, share in class_shares(found, coding):
            print(f"  {share:7.2%}  {name}")


def predict_exported(options: Options) -> list[dict[str, Any]]:
    """Return the predictions of an ONNX file.

    Raises:
        InputError: it or an image cannot be read, or the options name a network too.
    """
    names = [field.name for field in fields(WhichNetwork)]
    refuse_given(
        options, [*names, *SEGMENTER_OPTIONS, "batch_size"], "of no use with --onnx, whose file is the network"
    )
    if not options.images:
        raise InputError(NO_IMAGES)
    if options.top < 1:
        raise InputError(f"--top={options.top} must be at least 1")
    try:
        return predict_onnx.predict(options.onnx, options.images, options.top)
    except predict_onnx.RefusedFile as refusal:
        raise InputError(str(refusal)) from refusal


def show(predictions: list[dict[str, Any]], options: Options) -> None:
    """Print predictions."""
    if options.json:
        print(json.dumps(predictions, indent=2))
        return
    for prediction in predictions:
        print(prediction["image"])
        for entry in prediction["classes"]:
            print(f"  {entry['probability']:7.2%}  {entry['class']}")


if __name__ == "__main__":
    run_command(main)
