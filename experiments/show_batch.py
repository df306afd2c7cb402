"""Draw a training batch as the network receives it, after every augmentation, with its targets.

    python -m experiments.show_batch --recipe=rsb_a3 --dataset=folder --data_dir=ROOT
    python -m experiments.show_batch --recipe=airbench94 --dataset=cifar10 --data_dir=DIR
    python -m experiments.show_batch --dataset=masks --data_dir=ROOT

It takes the options of experiments.imagenet and experiments.finetune (with CIFAR or digits those of experiments.cifar,
with masks of experiments.segment) and draws the batch of step 0 to WORKDIR/batch.png.
"""

import dataclasses
from collections.abc import Sequence

from experiments import cifar
from experiments.finetune import with_init_from
from resnet_jax.cli import is_given, parse_config, run_command, value_of
from resnet_jax.config.options import Config, of_masks
from resnet_jax.data.preprocessing import MEAN_STD
from resnet_jax.recipes import FOR_PHOTOGRAPHS, SEGMENTATION, TRANSFER
from resnet_jax.run.show_batch import show_batch

RECIPES = FOR_PHOTOGRAPHS | TRANSFER
DEFAULTS = Config(model="resnet50", recipe="goyal2017", dataset="imagenet2012", image_size=224, batch_size=32)


def main(argv: Sequence[str]) -> None:
    """Draw one batch."""
    argv = with_init_from(argv)
    # Small images keep their size: a whole set of them at 224 px would be many gigabytes.
    small = value_of(argv, "dataset", DEFAULTS.dataset) in MEAN_STD
    defaults = dataclasses.replace(DEFAULTS, image_size=0) if small else DEFAULTS
    recipes = cifar.RECIPES if small else RECIPES
    if of_masks(Config(dataset=value_of(argv, "dataset", ""))):
        defaults, recipes = dataclasses.replace(DEFAULTS, recipe="scratch"), SEGMENTATION
    config = parse_config(argv, "show_batch", __doc__, defaults, recipes=recipes, family="resnet{depth}")
    # The picture of a recipe's own batch would be too large; the options that divide that batch do not apply.
    if not is_given(argv, "batch_size"):
        config = dataclasses.replace(config, batch_size=DEFAULTS.batch_size, bn_group_size=0, accumulate=1)
    print(f"drawn to {show_batch(config)}")


if __name__ == "__main__":
    run_command(main)
