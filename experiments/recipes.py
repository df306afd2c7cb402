"""List the training recipes: source, published result, cost, every setting, and differences from the source.

    python -m experiments.recipes
    python -m experiments.recipes --markdown > docs/recipes.md

`--recipe=NAME` of experiments.imagenet, cifar, finetune and segment starts from one.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from resnet_jax.cli import parse_options, run_command
from resnet_jax.recipes import CIFAR, IMAGENET, SEGMENTATION, TRANSFER, Recipe


@dataclass(frozen=True)
class Options:
    """Options."""

    markdown: bool = False
    """Print Markdown"""


HEAD = """# Recipes

Printed by `python -m experiments.recipes --markdown`. Results and costs are those published; measurements made here
are in the [README](../README.md#results). Times are fractions of the training, and learning rates are given for a batch
of `reference_batch_size`. A setting that is not listed has the default of `resnet_jax/config/`; the command that a
section names shows all of them, with `--recipe=NAME --help`.
"""
TITLES = {
    "imagenet": "Photographs: `experiments.imagenet`",
    "cifar": "Small images: `experiments.cifar`",
    "finetune": "One's own pictures: `experiments.finetune`",
    "segment": "Pictures with masks: `experiments.segment`",
}


def settings(recipe: Recipe) -> str:
    """Return everything a recipe sets, as options."""
    return " ".join(
        f"--{name}{' ' if isinstance(value, tuple) else '='}"
        f"{' '.join(map(_short, value)) if isinstance(value, tuple) else _short(value)}"
        for name, value in recipe.settings.items()
    )


def _short(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def show(recipes: Mapping[str, Recipe], markdown: bool) -> None:
    """Print the recipes of one command."""
    wrapped = partial(textwrap.fill, width=120, break_on_hyphens=False, break_long_words=False)
    for name, recipe in recipes.items():
        head = f"### `{name}`\n\n{wrapped(str(recipe))}\n" if markdown else wrapped(f"{name}: {recipe}")
        print(head, wrapped(settings(recipe), initial_indent="    ", subsequent_indent="    "), sep="\n", end="\n\n")


def main(argv: Sequence[str]) -> None:
    """Print the list."""
    options = parse_options(Options, argv, "recipes", __doc__)
    if options.markdown:
        print(HEAD)
    families = (("imagenet", IMAGENET), ("cifar", CIFAR), ("finetune", TRANSFER), ("segment", SEGMENTATION))
    for command, recipes in families:
        print(f"## {TITLES[command]}\n" if options.markdown else f"experiments.{command}\n")
        show(recipes, options.markdown)


if __name__ == "__main__":
    run_command(main)
