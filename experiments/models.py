"""List every network: parameters, multiply-adds of one image, and the reference it equals.

    python -m experiments.models
    python -m experiments.models --markdown > docs/models.md

Parameters are counted with the default number of classes and with the heads that only training uses.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from resnet_jax import create_model, list_models
from resnet_jax.cli import parse_options, run_command
from resnet_jax.models.counts import abstract_variables, multiply_adds, parameter_count
from resnet_jax.models.references import reference


@dataclass(frozen=True)
class Options:
    """Options."""

    markdown: bool = False
    """Print a Markdown table"""


COLUMNS = ("network", "parameters", "multiply-adds", "at", "equal to", "proved by (tests/)")


def row(name: str) -> tuple[str, ...]:
    """Return the table's row of one network."""
    size = 32 if name.endswith("_cifar") else 224
    model = create_model(name)
    parameters = parameter_count(abstract_variables(model, size)["params"])
    original, proof = reference(name)
    return name, f"{parameters:,}", f"{multiply_adds(model, size) / 1e9:.3f} G", f"{size} px", original, proof


def main(argv: Sequence[str]) -> None:
    """Print the table."""
    options = parse_options(Options, argv, "models", __doc__)
    if options.markdown:
        print("# Networks\n\nPrinted by `python -m experiments.models --markdown`.\n")
        print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for name in list_models():
        cells = row(name)
        if options.markdown:
            print(f"| {' | '.join(cells)} |", flush=True)
        else:
            print(f"{cells[0]:32} {cells[1]:>12} {cells[2]:>10} at {cells[3]}, {cells[4]}", flush=True)


if __name__ == "__main__":
    run_command(main)
