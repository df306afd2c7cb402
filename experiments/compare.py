"""Compare finished runs: mean and standard deviation over seeds or folds.

    python -m experiments.compare runs/*
    python -m experiments.compare runs/* --report=FILE.html

Runs that differ in --seed or --fold alone share a line; below the table are the folders and differing options of each.
The numbers are those of result.json, from the last checkpoint.
The page of --report shows curves, cost, intervals, and whether two runs differ on the same images.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from resnet_jax.cli import parse_options, run_command
from resnet_jax.errors import InputError
from resnet_jax.evaluation.page import check_page, write_page
from resnet_jax.studies.comparison import comparison_page
from resnet_jax.studies.seed_groups import differing_options, group_by_options, group_lines, seed_table


@dataclass(frozen=True)
class Options:
    """Options."""

    workdirs: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Folders of runs"""
    report: str = ""
    """Write a page that needs no other file: FILE.html. Runs without a report are evaluated for it"""


def main(argv: Sequence[str]) -> None:
    """Print the table."""
    options = parse_options(Options, argv, "compare", __doc__)
    if options.report:
        check_page(Path(options.report), "report")
    groups, unfinished = group_by_options(options.workdirs)
    for workdir in unfinished:
        print(f"not finished: {workdir}")
    if not groups:
        raise InputError("none of these folders holds a finished run")
    print(seed_table(groups))
    if len(groups) > 1:
        print(f"\nThe lines differ in {', '.join(differing_options(groups)) or 'their images'}:")
        print("\n".join(group_lines(groups)))
    if options.report:
        command = shlex.join(["python", "-m", "experiments.compare", *argv])
        write_page(Path(options.report), comparison_page(groups, unfinished, command))
        print(f"\nthe page is {options.report}")


if __name__ == "__main__":
    run_command(main)
