"""Evaluate a run, a set of weights, or an ensemble on a data set with the same classes, every image once.

    python -m experiments.evaluate --workdir=RUN
    python -m experiments.evaluate --workdir=RUN --dataset=folder --data_dir=ROOT --checkpoint=best
    python -m experiments.evaluate --model=resnet50 --weights=timm/resnet50.a1_in1k --dataset=folder --data_dir=ROOT
    python -m experiments.evaluate --workdir=RUN --protocol=ten_crop --precise_bn=10000
    python -m experiments.evaluate --ensemble RUN_A RUN_B resnet50:FILE --protocol=multi_scale --scales 224 288

The classes are the folders ROOT/val/CLASS, or ROOT/CLASS where ROOT has neither train nor val. --data_dir=FILE.csv has
the columns path,label or path,label,split.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from resnet_jax.cli import parse_options, refuse_given, run_command
from resnet_jax.errors import InputError
from resnet_jax.evaluation.evaluate import evaluate
from resnet_jax.evaluation.image_set import Split
from resnet_jax.evaluation.masks import Tiling, evaluate_masks
from resnet_jax.evaluation.precise_bn import with_precise_stats
from resnet_jax.evaluation.protocols import Protocol
from resnet_jax.inference.trained import Trained
from resnet_jax.inference.tta import SCALES
from resnet_jax.inference.which_network import WhichNetwork, load_ensemble, load_named
from resnet_jax.run.report import outcome


@dataclass(frozen=True, kw_only=True)
class Options(WhichNetwork):
    """Options."""

    ensemble: tuple[str, ...] = ()
    """Instead of one network: run folders or NAME:WEIGHTS_FILE pairs, whose scores are averaged"""
    protocol: Protocol = ""
    """Views of every image. Empty: as in training

    center, flip, flip_translate: logits averaged; ten_crop, multi_scale: scores averaged (He et al. 2015).
    """
    scales: tuple[int, ...] = SCALES
    """Shorter sides with multi_scale, pixels; the whole image, for networks that take any size"""
    precise_bn: int = 0
    """Recompute the batch statistics on so many images of the run's training. 0: the running averages"""
    dataset: str = ""
    """Data set, as in training. Empty: the run's own"""
    data_dir: str = ""
    """Folder of the data. Empty: the run's own"""
    split: Split = "val"
    """Validation or training images, or those of ROOT/test; all without augmentation"""
    subset: bool = False
    """Count the logits of the set's classes alone, which are some of the network's, by name"""
    links_out: bool = False
    """Read symbolic links that leave --data_dir"""
    batch_size: int = 0
    """Images a step, crops and mirror images included. 0: the run's own; the result does not depend on it"""
    tile: int = 0
    """Side of tiles, of networks that classify pixels. 0: whole pictures"""
    tile_margin: int = 32
    """Pixels around each tile that the network sees and that are not counted"""
    num_workers: int = -1
    """Decoding processes. 0: threads; -1: all cores but one, 16 at most, or threads"""
    json: bool = False
    """Print one JSON object instead of text"""


def networks_of(options: Options) -> list[Trained]:
    """Load the networks that the options name.

    Raises:
        InputError: they name none, contradict each other, or cannot be read.
    """
    if options.scales != SCALES and options.protocol != "multi_scale":
        raise InputError("--scales goes with --protocol=multi_scale")
    if not options.tile:
        refuse_given(options, ("tile_margin",), "for tiles, --tile=512")
    if options.protocol == "multi_scale" and not options.ensemble:
        refuse_given(options, ("resize",), "not for --protocol=multi_scale, which resizes images to --scales")
    if not options.ensemble:
        networks = [load_named(options)]
    else:
        others = ("workdir", "model", "weights", "weights_key", "num_classes", "image_size", "resize")
        others += ("mean", "std", "interpolation")
        if given := [f"--{name}" for name in others if getattr(options, name)]:
            raise InputError(f"{', '.join(given)}: not with --ensemble, which names its networks itself")
        networks = load_ensemble(options.ensemble, options.checkpoint, ema=options.ema)
    if networks[0].classifies_pixels:
        check_of_pixels(options)
    if not options.precise_bn:
        return networks
    folder = "" if options.dataset else options.data_dir  # where the training images may have been moved to
    with_stats = partial(with_precise_stats, num_images=options.precise_bn, num_workers=options.num_workers)
    return [with_stats(network, data_dir=folder) for network in networks]


def main(argv: Sequence[str]) -> None:
    """Evaluate, and print the result."""
    options = parse_options(Options, argv, "evaluate", __doc__)
    networks = networks_of(options)
    if networks[0].classifies_pixels:
        show(pixels(options, networks[0]), options)
        return
    refuse_given(options, ("tile", "tile_margin"), "for networks that classify pixels")
    result = evaluate(
        networks,
        protocol=options.protocol,
        scales=options.scales,
        dataset=options.dataset,
        data_dir=options.data_dir,
        split=options.split,
        subset=options.subset,
        links_out=options.links_out,
        batch_size=options.batch_size,
        num_workers=options.num_workers,
    )
    show(result, options)


def check_of_pixels(options: Options) -> None:
    """Refuse options that do not go with a network that classifies pixels.

    Raises:
        InputError: they do not.
    """
    names = ("ensemble", "precise_bn", "subset", "image_size", "links_out")
    refuse_given(options, names, "for networks that classify images, not pixels")


def pixels(options: Options, network: Trained) -> dict[str, Any]:
    """Evaluate a network that classifies pixels; raises as `evaluate_masks`."""
    return evaluate_masks(
        network,
        dataset=options.dataset,
        data_dir=options.data_dir,
        split=options.split,
        views=options.protocol,
        short=options.resize or None,
        tiling=Tiling(options.tile, options.tile_margin),
        batch_size=options.batch_size,
        num_workers=options.num_workers,
    )


def show(result: dict[str, Any], options: Options) -> None:
    """Print a result."""
    if options.json:
        print(json.dumps(result))
        return
    print(outcome(result))
    for name, value in result.items():
        if name.startswith("iou/"):
            print(f"  IoU {value:.4f}  {name.removeprefix('iou/')}")


if __name__ == "__main__":
    run_command(main)
