"""Train a network on one's own pictures, from weights that were trained on others.

    python -m experiments.finetune --data_dir=ROOT --weights=FILE_HUB_ID_OR_RUN
    python -m experiments.finetune --data_dir=ROOT --recipe=head
    python -m experiments.finetune --data_dir=ROOT --recipe=scratch

ROOT holds train/CLASS/*.jpg and val/CLASS/*.jpg; or CLASS/*.jpg alone, with --val_fraction=0.2; or it is FILE.csv, with
the columns path,label[,split]. Without --weights the network's default on the hub is taken. The same command again
continues the run. --weights is --init_from, which every training command has.
"""

from collections.abc import Sequence
from dataclasses import replace

from resnet_jax.cli import parse_config, run_command
from resnet_jax.config.options import Config
from resnet_jax.errors import InputError
from resnet_jax.recipes import IMAGENET, TRANSFER
from resnet_jax.run.train import train
from resnet_jax.weights.catalog import default_weights

RECIPES = TRANSFER | IMAGENET
DEFAULTS = Config(model="resnet50", recipe="finetune", dataset="folder", image_size=224)
WEIGHTS = "--weights"


def main(argv: Sequence[str]) -> None:
    """Run the training of a command line."""
    argv = [f"--init_from{a.removeprefix(WEIGHTS)}" if a.split("=")[0] == WEIGHTS else a for a in argv]
    config = parse_config(argv, "finetune", __doc__, DEFAULTS, recipes=RECIPES, family="resnet{depth}")
    train(config if config.init_from or config.recipe == "scratch" else from_default(config))


def from_default(config: Config) -> Config:
    """Return the config with the network's default weights to start from.

    Raises:
        InputError: it has none.
    """
    default = default_weights(config.model)
    if default is None:
        raise InputError(f"--model={config.model} has no default weights; name some: --weights=FILE_HUB_ID_OR_RUN")
    return replace(config, init_from=default.name)


if __name__ == "__main__":
    run_command(main)
