"""Training recipes by name: sets of defaults for `Config`, each with its source, its published result and its cost.

`--recipe=NAME` starts from one, and any option on the command line overrides it. Times (warm-ups, milestones, averages,
progressive resizing) are fractions of the training, and learning rates are given for a batch size, so that `--epochs`
and `--batch_size` scale the whole. `--dry_run` prints the result.
"""

from resnet_jax.recipes.cifar import CIFAR
from resnet_jax.recipes.imagenet import IMAGENET
from resnet_jax.recipes.recipe import Recipe
from resnet_jax.recipes.segmentation import SEGMENTATION
from resnet_jax.recipes.transfer import TRANSFER

# Those that photographs may be trained by. Both tables have a he2015: IMAGENET's wins, and its recipes come first.
FOR_PHOTOGRAPHS = IMAGENET | CIFAR | IMAGENET

__all__ = ["CIFAR", "FOR_PHOTOGRAPHS", "IMAGENET", "SEGMENTATION", "TRANSFER", "Recipe"]
