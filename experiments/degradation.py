"""Reproduce the degradation of plain networks, which residual networks do not have (He et al. 2015, figure 6).

    python -m experiments.degradation --depths=20,32,44,56 --kinds=plain,resnet --data_dir=DIR
    python -m experiments.degradation --depths=20,56 --budget=short --data_dir=DIR
    python -m experiments.degradation --summary

Trains every network in turn, each in a folder of its own, and writes WORKDIR/table.md and WORKDIR/degradation.png. The
same command again continues where it was stopped; more depths or seeds are added to those in the folder. DIR is the
folder of the binary version of CIFAR-10.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from resnet_jax.cli import parse_options, run_command
from resnet_jax.config.options import Config
from resnet_jax.errors import InputError
from resnet_jax.studies.degradation import network_names, run_config, train_all
from resnet_jax.studies.degradation_report import summarize


@dataclass(frozen=True)
class Options:
    """Options."""

    depths: str = "20,56"
    """Layers, separated by commas, each 6n + 2; from 110 on with 400 steps of warm-up"""
    kinds: str = "plain,resnet"
    """Kinds of network, separated by commas: plain, resnet, preresnet"""
    seeds: int = 1
    """Runs of every network, with seeds 0, 1, …"""
    budget: Literal["paper", "short"] = "paper"
    """64,000 steps of 128; or 4,500 of 32, for two CPU cores, which only show the effect"""
    workdir: str = ""
    """Folder of the study; its runs are NAME-seedK in it. Empty: runs/degradation-BUDGET"""
    data_dir: str = ""
    """Folder of the data"""
    summary: bool = False
    """Train nothing; write table and figure from the runs that exist"""
    dataset: Literal["cifar10", "cifar100", "digits"] = "cifar10"
    """Data set; the paper's is CIFAR-10"""
    steps: int = 0
    """Length of every training in steps. 0: the budget's"""
    batch_size: int = 0
    """Examples a step. 0: the budget's"""
    width: int = 0
    """Filters of the first stage. 0: the paper's 16"""
    scan: bool = False
    """Compile identical blocks once, for the deepest networks"""


def runs_of(options: Options) -> tuple[list[str], list[Config]]:
    """Return the networks of the study and the config of every run, seed by seed.

    Raises:
        InputError: --depths is not a list of numbers, a network does not exist, or there is no run.
    """
    if options.seeds < 1:
        raise InputError(f"--seeds={options.seeds} must be at least 1")
    try:
        depths = [int(depth) for depth in options.depths.split(",")]
    except ValueError as error:
        raise InputError(f"--depths={options.depths} is not a list of numbers such as 20,56") from error
    names = network_names(options.kinds.split(","), depths)
    more = {name: value for name in ("steps", "batch_size", "width", "scan") if (value := getattr(options, name))}
    more |= {"dataset": options.dataset, "data_dir": options.data_dir}
    folder = _workdir(options)
    return names, [run_config(n, seed, folder, options.budget, **more) for seed in range(options.seeds) for n in names]


def _workdir(options: Options) -> Path:
    return Path(options.workdir or f"runs/degradation-{options.budget}")


def main(argv: Sequence[str]) -> None:
    """Train the networks that are not finished, and write the summary."""
    options = parse_options(Options, argv, "degradation", __doc__)
    names, configs = runs_of(options)
    workdir = _workdir(options)
    summary = partial(summarize, workdir, names)
    if options.summary and not any(workdir.glob("*/config.json")):
        raise InputError(f"--workdir={workdir} holds no run; name the folder of a study")
    if not options.summary:
        train_all(configs, after_each=summary)
    print(summary())
    print(f"look at {workdir / 'degradation.png'}")


if __name__ == "__main__":
    run_command(main)
