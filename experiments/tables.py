"""Compare published results with your runs.

    python -m experiments.tables --table=cifar --runs=runs
    python -m experiments.tables --table=preact --runs=runs/degradation-paper,elsewhere
    python -m experiments.tables --table=reproduction --runs=docs/measurements/reproduction

Prints for every line of a table the command that trains it (add --seed=K), the published error, and whether the runs
below the given folders reproduce it, are within tolerance with fewer seeds, or miss it; or that it has not been run.
Reads config.json and result.json, and ten_crop.json where the paper tested on ten crops.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from resnet_jax.cli import parse_options, run_command
from resnet_jax.studies.evaluations import evaluation_table
from resnet_jax.studies.published import TABLES as PUBLISHED
from resnet_jax.studies.reproduction import EVALUATIONS, TRAININGS
from resnet_jax.studies.verdicts import find_runs, verdict_table

TABLES = {**PUBLISHED, "reproduction": TRAININGS}


@dataclass(frozen=True)
class Options:
    """Options."""

    table: Literal["cifar", "shortcuts", "preact", "imagenet", "reproduction"] = "cifar"
    """Table of a paper, or ours

    cifar: ResNets on CIFAR-10 (He et al. 2015, table 6); shortcuts: shortcuts A, B and C on ImageNet (table 3); preact:
    shortcuts, orders and pre-activation on CIFAR (He et al. 2016, tables 1, 2 and 4); imagenet: ResNet-50 to 152 on
    ImageNet, by recipe; reproduction: what two CPU cores can do, trainings and evaluations (docs/reproduction.md).
    """
    runs: str = "runs"
    """Folders, separated by commas; runs are found at any depth below"""


def main(argv: Sequence[str]) -> None:
    """Print one table."""
    options = parse_options(Options, argv, "tables", __doc__)
    folders = [Path(folder) for folder in options.runs.split(",")]
    runs, problems = find_runs(folders)
    print(f"# Table {options.table}\n\n{verdict_table(TABLES[options.table], runs)}")
    if options.table == "reproduction":
        print(f"\n{evaluation_table(EVALUATIONS, folders)}")
    for problem in problems:
        print(problem, file=sys.stderr)


if __name__ == "__main__":
    run_command(main)
