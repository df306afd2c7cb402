"""Draw a training batch as the network receives it, after every augmentation, with its targets.

    python -m experiments.show_batch --recipe=rsb_a3 --dataset=folder --data_dir=ROOT
    python -m experiments.show_batch --recipe=airbench94 --dataset=cifar10 --data_dir=DIR
    python -m experiments.show_batch --recipe=finetune --data_dir=ROOT --weights=FILE
    python -m experiments.show_batch --dataset=masks --data_dir=ROOT

It takes the options of the command that would train: experiments.imagenet, with CIFAR or digits experiments.cifar, with
masks experiments.segment, with a recipe of experiments.finetune that one. It draws the batch of step 0 to
WORKDIR/batch.png.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from experiments import cifar, finetune, segment
from resnet_jax.cli import is_given, parse_config, run_command, value_of
from resnet_jax.config.options import Config
from resnet_jax.data.preprocessing import MEAN_STD
from resnet_jax.data.sources.load import has_masks
from resnet_jax.recipes import FOR_PHOTOGRAPHS, SEGMENTATION, TRANSFER, Recipe
from resnet_jax.run.show_batch import show_batch

DEFAULTS = Config(model="resnet50", recipe="goyal2017", dataset="imagenet2012", image_size=224, batch_size=32)


def main(argv: Sequence[str]) -> None:
    """Draw one batch."""
    argv = finetune.with_init_from(argv)
    defaults, recipes, family = defaults_of(argv)
    config = parse_config(argv, "show_batch", __doc__, defaults, recipes=recipes, family=family)
    # The picture of a recipe's own batch would be too large; the options that divide that batch do not apply.
    if not is_given(argv, "batch_size"):
        config = dataclasses.replace(config, batch_size=DEFAULTS.batch_size, bn_group_size=0, accumulate=1)
    print(f"drawn to {show_batch(config)}")


def defaults_of(argv: Sequence[str]) -> tuple[Config, Mapping[str, Recipe], str]:
    """Return defaults, recipes and family of networks of the command that trains on the images of a command line."""
    dataset = value_of(argv, "dataset", "")
    if has_masks(dataset):
        defaults, recipes, family = segment.defaults_of(argv), SEGMENTATION, segment.FAMILY
    elif dataset in MEAN_STD:
        defaults, recipes, family = cifar.DEFAULTS, cifar.RECIPES, cifar.FAMILY
    elif value_of(argv, "recipe", "") in TRANSFER:
        defaults, recipes, family = finetune.DEFAULTS, finetune.RECIPES, "resnet{depth}"
    else:
        defaults, recipes, family = DEFAULTS, FOR_PHOTOGRAPHS, "resnet{depth}"
    return dataclasses.replace(defaults, batch_size=DEFAULTS.batch_size), recipes, family


if __name__ == "__main__":
    run_command(main)
