"""Evaluate a training run, or a set of weights, on a set with the same classes: every image exactly once.

    python -m experiments.evaluate --workdir=RUN
    python -m experiments.evaluate --workdir=RUN --dataset=folder --data_dir=ROOT --checkpoint=best
    python -m experiments.evaluate --model=resnet50 --weights=timm/resnet50.a1_in1k --dataset=folder --data_dir=ROOT

The classes are the folders ROOT/val/CLASS, or ROOT/CLASS where ROOT has neither train nor val.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from resnet_jax.cli import parse_options, run_command
from resnet_jax.evaluate import evaluate
from resnet_jax.trained import WhichNetwork, load_trained


@dataclass(frozen=True, kw_only=True)
class Options(WhichNetwork):
    """Options of evaluate."""

    dataset: str = ""
    """Any data set that training takes. Empty: the one it was trained on."""
    data_dir: str = ""
    """Where the data are. Empty: where they were in training."""
    split: Literal["val", "train"] = "val"
    """Test or training images; both are seen as in evaluation."""
    batch_size: int = 0
    """Examples a step. 0: the run's own. The result does not depend on it."""
    num_workers: int = -1
    """Processes that decode photographs. 0: threads of this process; -1: one for every core but one, at most 16."""
    json: bool = False
    """Print one JSON object instead of text."""
    debug: bool = False
    """Print the traceback of an error."""


def main(argv: Sequence[str]) -> None:
    """Evaluate as the command line says."""
    options = parse_options(Options, argv, "evaluate", __doc__)
    trained = load_trained(options)
    result = evaluate(
        trained,
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
