"""Evaluate a training run on its test set, or on any other set with the same classes: every image exactly once.

python -m experiments.evaluate --workdir=RUN
python -m experiments.evaluate --workdir=RUN --dataset=folder --data_dir=ROOT --checkpoint=best
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from resnet_jax.cli import parse_options, run_command
from resnet_jax.evaluate import evaluate_run


@dataclass(frozen=True)
class Options:
    """Options of evaluate."""

    workdir: str
    """Folder of a training run."""
    dataset: str = ""
    """Any data set that training takes. Empty: the run's own."""
    data_dir: str = ""
    """Where the data are. Empty: where they were in training."""
    split: Literal["val", "train"] = "val"
    """Test or training images; both are seen as in evaluation."""
    checkpoint: str = "newest"
    """newest, best, or a step."""
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
    result = evaluate_run(
        options.workdir,
        dataset=options.dataset,
        data_dir=options.data_dir,
        split=options.split,
        which=options.checkpoint,
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
