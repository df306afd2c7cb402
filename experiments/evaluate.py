"""Evaluate a training run, a set of weights, or several at once, on a set with the same classes: every image once.

    python -m experiments.evaluate --workdir=RUN
    python -m experiments.evaluate --workdir=RUN --dataset=folder --data_dir=ROOT --checkpoint=best
    python -m experiments.evaluate --model=resnet50 --weights=timm/resnet50.a1_in1k --dataset=folder --data_dir=ROOT
    python -m experiments.evaluate --workdir=RUN --protocol=ten_crop --precise_bn=10000
    python -m experiments.evaluate --ensemble RUN_A RUN_B resnet50:FILE --protocol=multi_scale --scales 224 288

The classes are the folders ROOT/val/CLASS, or ROOT/CLASS where ROOT has neither train nor val.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from resnet_jax.cli import parse_options, run_command
from resnet_jax.errors import InputError
from resnet_jax.evaluation.evaluate import evaluate
from resnet_jax.evaluation.precise_bn import with_precise_stats
from resnet_jax.evaluation.protocols import Protocol
from resnet_jax.inference.trained import Trained, WhichNetwork, load_ensemble, load_trained
from resnet_jax.inference.tta import SCALES


@dataclass(frozen=True, kw_only=True)
class Options(WhichNetwork):
    """Options of evaluate."""

    ensemble: tuple[str, ...] = ()
    """Instead of one network: run folders or NAME:WEIGHTS_FILE pairs, whose scores are averaged."""
    protocol: Protocol = ""
    """What a network is shown of every image: center, flip, flip_translate (logits averaged); ten_crop, multi_scale (He
    et al. 2015; scores averaged). Empty: as it was evaluated in training."""
    scales: tuple[int, ...] = SCALES
    """Shorter sides of multi_scale, pixels. The whole image is seen, for networks that take any size."""
    precise_bn: int = 0
    """Take the batch statistics anew, from that many training images of the run. 0: the running averages."""
    dataset: str = ""
    """Any data set that training takes. Empty: the one it was trained on."""
    data_dir: str = ""
    """Where the data are. Empty: where they were in training."""
    split: Literal["val", "train"] = "val"
    """Test or training images; both are seen as in evaluation."""
    batch_size: int = 0
    """Images a step, crops and mirror images included. 0: the run's own. The result does not depend on it."""
    num_workers: int = -1
    """Processes that decode photographs. 0: threads of this process; -1: one for every core but one, at most 16."""
    json: bool = False
    """Print one JSON object instead of text."""
    debug: bool = False
    """Print the traceback of an error."""


def networks_of(options: Options) -> list[Trained]:
    """The one network or the several that the options name.

    Raises:
        InputError: they name none, contradict each other, or cannot be read.
    """
    if options.scales != SCALES and options.protocol != "multi_scale":
        raise InputError("--scales goes with --protocol=multi_scale")
    if not options.ensemble:
        networks = [load_trained(options)]
    else:
        others = ("workdir", "model", "weights", "num_classes", "image_size", "resize")
        if given := [f"--{name}" for name in others if getattr(options, name)]:
            raise InputError(f"{', '.join(given)}: not with --ensemble, which names its networks itself")
        networks = load_ensemble(options.ensemble, options.checkpoint, ema=options.ema)
    if not options.precise_bn:
        return networks
    folder = "" if options.dataset else options.data_dir  # of another set, it has not the training images
    with_stats = partial(with_precise_stats, num_images=options.precise_bn, num_workers=options.num_workers)
    return [with_stats(network, data_dir=folder) for network in networks]


def main(argv: Sequence[str]) -> None:
    """Evaluate as the command line says."""
    options = parse_options(Options, argv, "evaluate", __doc__)
    result = evaluate(
        networks_of(options),
        protocol=options.protocol,
        scales=options.scales,
        dataset=options.dataset,
        data_dir=options.data_dir,
        split=options.split,
        batch_size=options.batch_size,
        num_workers=options.num_workers,
    )
    if options.json:
        print(json.dumps(result))
        return
    print(
        f"top-1 {result['top1']:.4f}, top-5 {result['top5']:.4f}, loss {result['loss']:.4f}, "
        f"over {result['num_examples']:,} images"
    )


if __name__ == "__main__":
    run_command(main)
