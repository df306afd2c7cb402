"""Train a ResNet on ImageNet, or with --dataset=folder --data_dir=ROOT on ROOT/train/CLASS/*.jpg, ROOT/val/CLASS/*.jpg.

    python -m experiments.imagenet --depth=50

The same command again continues.
"""

from collections.abc import Sequence

from resnet_jax.cli import parse_config, run_command
from resnet_jax.config.options import Config
from resnet_jax.recipes import FOR_PHOTOGRAPHS, IMAGENET
from resnet_jax.run.train import train

RECIPES = FOR_PHOTOGRAPHS
DEFAULTS = Config(model="resnet50", recipe="goyal2017", dataset="imagenet2012", image_size=224)


def main(argv: Sequence[str]) -> None:
    """Run the training of a command line."""
    train(parse_config(argv, "imagenet", __doc__, DEFAULTS, recipes=RECIPES, listed=IMAGENET, family="resnet{depth}"))


if __name__ == "__main__":
    run_command(main)
