"""What a recipe is."""

import dataclasses
from dataclasses import dataclass
from typing import Any

# Settings that say how large photographs are.
SIZES = ("image_size", "eval_image_size", "eval_resize", "eval_crop", "progressive", "progressive_ramp", "crop")


@dataclass(frozen=True)
class Recipe:
    """A training as it was published.

    Attributes:
        source: paper, or repository and file.
        result: what it is published to reach, and with which network.
        cost: what it took there, or how much is computed.
        settings: values of `Config`.
        left_out: what of the original is not done, or done in another way.
    """

    source: str
    result: str
    cost: str
    settings: dict[str, Any]
    left_out: str = ""

    def for_small_images(self) -> "Recipe":
        """The same ingredients for images that come in one small size, which is kept."""
        settings = {name: value for name, value in self.settings.items() if name not in SIZES}
        return dataclasses.replace(self, settings=settings)

    def __str__(self) -> str:
        """One paragraph for --help."""
        rest = f" Not done as there: {self.left_out}." if self.left_out else ""
        return f"{self.source}. {self.result}. Cost: {self.cost}.{rest}"
