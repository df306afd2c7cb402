"""Draw what a network sees in training: a batch after every augmentation of a recipe, with its targets.

    python -m experiments.show_batch --recipe=rsb_a3 --dataset=folder --data_dir=ROOT
    python -m experiments.show_batch --recipe=airbench94 --dataset=cifar10 --image_size=0 --data_dir=DIR

It takes every option of experiments.imagenet and draws the batch of step 0 to WORKDIR/batch.png.
"""

import dataclasses
from collections.abc import Sequence

from resnet_jax.cli import parse_config, run_command
from resnet_jax.config import Config
from resnet_jax.recipes import CIFAR, IMAGENET
from resnet_jax.show_batch import show_batch

RECIPES = IMAGENET | CIFAR | IMAGENET
DEFAULTS = Config(model="resnet50", recipe="goyal2017", dataset="imagenet2012", image_size=224, batch_size=32)


def main(argv: Sequence[str]) -> None:
    """Draw one batch."""
    config = parse_config(argv, "show_batch", __doc__, DEFAULTS, recipes=RECIPES, family="resnet{depth}")
    asked = any(argument.startswith("--batch_size") for argument in argv)
    if not asked:  # a picture of a recipe's own batch would be too large; what divides that batch has no say here
        config = dataclasses.replace(config, batch_size=DEFAULTS.batch_size, bn_group_size=0, accumulate=1)
    print(show_batch(config))


if __name__ == "__main__":
    run_command(main)
