"""A recipe: a published training as a set of defaults."""

import dataclasses
from dataclasses import dataclass
from typing import Any

# Settings of the size of photographs.
SIZES = ("image_size", "eval_image_size", "eval_resize", "eval_crop", "progressive", "progressive_ramp", "crop")

# Steps between evaluations, where one runs the whole network and takes longer than all that the head learns.
AT_THE_END = 10**9


@dataclass(frozen=True)
class Recipe:
    """A training as it was published.

    Attributes:
        summary: one line for --help.
        source: paper, or repository and file.
        result: published result, and the network that reached it.
        cost: published cost, or the amount of computation.
        settings: values of `Config`.
        left_out: parts of the original that are missing or differ.
    """

    summary: str
    source: str
    result: str
    cost: str
    settings: dict[str, Any]
    left_out: str = ""

    def for_small_images(self) -> "Recipe":
        """Return the recipe without its image sizes, for data sets of small images."""
        settings = {name: value for name, value in self.settings.items() if name not in SIZES}
        return dataclasses.replace(self, settings=settings)

    def __str__(self) -> str:
        """Return source, result, cost and differences as one paragraph."""
        rest = f" Differences: {self.left_out}." if self.left_out else ""
        return f"Source: {self.source}. Result: {self.result}. Cost: {self.cost}.{rest}"
