"""Training recipes by name: sets of defaults for `Config`, each with its source, its published result and its cost.

`--recipe=NAME` starts from one, and any option on the command line overrides it. Times (warm-ups, milestones, averages,
growing images) are fractions of the training and rates belong to a batch, so that `--epochs` and `--batch_size` scale
the whole. `--dry_run` prints what comes of it.
"""

from resnet_jax.recipes.cifar import CIFAR
from resnet_jax.recipes.imagenet import IMAGENET
from resnet_jax.recipes.recipe import Recipe

__all__ = ["CIFAR", "IMAGENET", "Recipe"]
