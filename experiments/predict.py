"""Print the most likely classes of image files; of a network that classifies pixels, write their masks.

    python -m experiments.predict --workdir=RUN photo.jpg other.png
    python -m experiments.predict --workdir=RUN --json *.jpg
    python -m experiments.predict --workdir=SEGMENTATION_RUN --out=FOLDER *.jpg
    python -m experiments.predict --model=resnet50 photo.jpg
    python -m experiments.predict --model=resnet20_cifar --weights=resnet20-12fca82f.th photo.jpg

The files may be of any size and of any format that Pillow reads.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from resnet_jax.cli import parse_options, run_command
from resnet_jax.inference.predict import predict
from resnet_jax.inference.segment import class_shares, coding_of, segment_images, write_masks
from resnet_jax.inference.which_network import WhichNetwork, load_named


@dataclass(frozen=True, kw_only=True)
class Options(WhichNetwork):
    """Options."""

    images: tyro.conf.Positional[tuple[str, ...]]
    """Image files of any format and size"""
    top: int = 5
    """Number of classes to print"""
    batch_size: int = 64
    """Images at once; the result does not depend on it"""
    json: bool = False
    """Print one JSON list instead of text"""
    out: str = "masks"
    """Folder for masks and overlays, of a network that classifies pixels"""
    tile: int = 0
    """Side of tiles, of such a network. 0: whole pictures"""
    tile_margin: int = 32
    """Pixels around each tile that the network sees"""


def main(argv: Sequence[str]) -> None:
    """Predict, and print the classes."""
    options = parse_options(Options, argv, "predict", __doc__)
    trained = load_named(options)
    if trained.classifies_pixels:
        coding = coding_of(trained)
        for found in segment_images(trained, options.images, options.tile, options.tile_margin):
            print(f"{found.name}: {', '.join(map(str, write_masks(found, coding, Path(options.out))))}")
            for name, share in class_shares(found, coding):
                print(f"  {share:7.2%}  {name}")
        return
    predictions = predict(trained, options.images, options.top, options.batch_size)
    if options.json:
        print(json.dumps(predictions, indent=2))
        return
    for prediction in predictions:
        print(prediction["image"])
        for entry in prediction["classes"]:
            print(f"  {entry['probability']:7.2%}  {entry['class']}")


if __name__ == "__main__":
    run_command(main)
