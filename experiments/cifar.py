"""Train a CIFAR ResNet of 6n + 2 layers, as in section 4.2 of "Deep Residual Learning".

    python -m experiments.cifar --depth=20 --data_dir=DIR
    python -m experiments.cifar --depth=8 --recipe=fast --epochs=5 --data_dir=DIR
    python -m experiments.cifar --model=plain20_cifar --data_dir=DIR

DIR is the folder of the binary version of CIFAR-10 (cifar-10-batches-bin). The same command again continues the run.
"""

from collections.abc import Sequence

from resnet_jax.cli import parse_config, run_command
from resnet_jax.config.options import Config
from resnet_jax.recipes import CIFAR, IMAGENET
from resnet_jax.run.train import train

# The recipes for photographs are used at CIFAR's image size.
RECIPES = {name: recipe.for_small_images() for name, recipe in IMAGENET.items()} | CIFAR
DEFAULTS = Config(model="resnet20_cifar", recipe="he2015", dataset="cifar10", image_size=0)
FAMILY = "resnet{depth}_cifar"


def main(argv: Sequence[str]) -> None:
    """Run the training of a command line."""
    train(parse_config(argv, "cifar", __doc__, DEFAULTS, recipes=RECIPES, listed=CIFAR, family=FAMILY))


if __name__ == "__main__":
    run_command(main)
