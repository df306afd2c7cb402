"""List every network: parameters, multiply-adds of one image, and the reference it equals.

    python -m experiments.models
    python -m experiments.models --markdown > docs/models.md

Parameters are counted with the default number of classes and with the heads that only training uses.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from resnet_jax.cli import parse_options, run_command
from resnet_jax.models.known_counts import count, known_counts, write_counts
from resnet_jax.models.references import reference
from resnet_jax.models.registry import list_models


@dataclass(frozen=True)
class Options:
    """Options."""

    markdown: bool = False
    """Print a Markdown table"""
    recount: bool = False
    """Count anew, two minutes, and keep the counts in the package: after a network was added or changed"""


COLUMNS = ("network", "parameters", "multiply-adds", "at", "equal to", "proved by (tests/)")


def main(argv: Sequence[str]) -> None:
    """Print the table."""
    options = parse_options(Options, argv, "models", __doc__)
    if options.recount:
        write_counts({name: count(name) for name in list_models()})
    if options.markdown:
        print("# Networks\n\nPrinted by `python -m experiments.models --markdown`.\n")
        print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for name, counts in known_counts().items():
        original, proof = reference(name)
        size, billions = f"{counts.image_size} px", f"{counts.multiply_adds / 1e9:.3f} G"
        if options.markdown:
            print(f"| {' | '.join((name, f'{counts.parameters:,}', billions, size, original, proof))} |")
        else:
            print(f"{name:32} {counts.parameters:>12,} {billions:>10} at {size}, {original}")


if __name__ == "__main__":
    run_command(main)
