"""Markdown tables, and their cells of several numbers."""

from collections.abc import Callable, Iterable, Sequence
from statistics import mean, stdev


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table, one line a row."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def mean_cell(values: Sequence[float], *, over: Callable[[Sequence[float]], float] = mean) -> str:
    """Format the mean of some values with two decimals, "-" of none, and the standard deviation (n - 1) of several.

    Args:
        values: the numbers.
        over: what is formatted in place of their mean.
    """
    if not values:
        return "-"
    return f"{over(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")
