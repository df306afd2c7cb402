"""What a recipe is."""

from dataclasses import dataclass
from typing import Any


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

    def __str__(self) -> str:
        """One paragraph for --help."""
        rest = f" Not done as there: {self.left_out}." if self.left_out else ""
        return f"{self.source}. {self.result}. Cost: {self.cost}.{rest}"
