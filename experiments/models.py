"""List every network: parameters, multiply-adds of one image, and the reference it equals; or the pretrained weights.

    python -m experiments.models
    python -m experiments.models --weights
    python -m experiments.models --markdown > docs/models.md

Parameters are counted with the default number of classes and with the heads that only training uses.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from resnet_jax.cli import parse_options, refuse_given, run_command
from resnet_jax.models.known_counts import count, known_counts, write_counts
from resnet_jax.models.references import reference
from resnet_jax.models.registry import list_models
from resnet_jax.weights.catalog import WEIGHTS, Weights, default_weights, is_hub_id


@dataclass(frozen=True)
class Options:
    """Options."""

    markdown: bool = False
    """Print a Markdown table"""
    weights: bool = False
    """List the published weights that are known: whose preprocessing, license and accuracy the package has"""
    recount: bool = False
    """Count anew, two minutes, and keep the counts in the package: after a network was added or changed"""


COLUMNS = ("network", "parameters", "multiply-adds", "at", "equal to", "proved by (tests/)")


def main(argv: Sequence[str]) -> None:
    """Print the table."""
    options = parse_options(Options, argv, "models", __doc__)
    if options.weights:
        refuse_given(options, ["markdown", "recount"], "of the networks, and --weights lists weights")
        print("\n".join(map(weights_line, WEIGHTS)))
        return
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


def weights_line(weights: Weights) -> str:
    """Return a line about a set of weights."""
    top5 = "" if weights.top5 is None else f", top-5 {weights.top5:.4f}"
    where = "on the hub" if is_hub_id(weights.name) else "a file"
    default = ", the default" if weights is default_weights(weights.model) else ""
    return (
        f"{weights.name:34} {weights.model:16} {where}{default}: {weights.dataset}, top-1 {weights.top1:.4f}{top5} "
        f"(published), {weights.license}"
    )


if __name__ == "__main__":
    run_command(main)
