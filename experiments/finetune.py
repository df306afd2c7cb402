"""Train a network on one's own pictures, from weights that were trained on others, and report what it gets wrong.

    python -m experiments.finetune --data_dir=ROOT --weights=FILE_HUB_ID_OR_RUN
    python -m experiments.finetune --data_dir=ROOT --recipe=head
    python -m experiments.finetune --data_dir=FILE.csv --val_fraction=0.2 --find_rate
    python -m experiments.finetune --data_dir=ROOT --folds=5

ROOT holds train/CLASS/*.jpg and val/CLASS/*.jpg; or CLASS/*.jpg alone, with --val_fraction=0.2; or it is a FILE.csv
with the columns path,label[,split]. Without --weights the network's default on the hub is taken. The same command again
continues the run, and the report is WORKDIR/report.html. --weights is --init_from, which every training command has.
--folds without --fold trains all folds, one by one.
"""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import jax

from resnet_jax.cli import is_given, parse_config, run_command
from resnet_jax.config.options import Config
from resnet_jax.errors import InputError
from resnet_jax.evaluation.page import write_page
from resnet_jax.evaluation.report import write_report
from resnet_jax.inference.trained import load_trained
from resnet_jax.recipes import IMAGENET, TRANSFER
from resnet_jax.run.train import train
from resnet_jax.runtime.distributed import cluster_is_announced, is_first_process
from resnet_jax.runtime.signals import check_stop
from resnet_jax.studies.comparison import comparison_page
from resnet_jax.studies.seed_groups import group_by_options, seed_table
from resnet_jax.weights.catalog import default_weights

RECIPES = TRANSFER | IMAGENET
DEFAULTS = Config(model="resnet50", recipe="finetune", dataset="folder", image_size=224)
WEIGHTS = "--weights"


def main(argv: Sequence[str]) -> None:
    """Run the training of a command line, and write its report."""
    command = shlex.join(["python", "-m", "experiments.finetune", *argv])
    argv = with_init_from(argv)
    config = parse_config(argv, "finetune", __doc__, DEFAULTS, recipes=RECIPES, listed=TRANSFER, family="resnet{depth}")
    refuse_weights_from_scratch(config)
    config = config if config.init_from or config.recipe == "scratch" else from_default(config)
    only_looks = config.dry_run or config.find_rate or config.find_batch
    if config.folds and not is_given(argv, "fold") and not only_looks:
        train_folds(config, command)
    elif train(config):
        report_run(config, command)


def with_init_from(argv: Sequence[str]) -> list[str]:
    """Return the words of a command line with --weights under its name in every training command."""
    return [f"--init_from{a.removeprefix(WEIGHTS)}" if a.split("=")[0] == WEIGHTS else a for a in argv]


def refuse_weights_from_scratch(config: Config) -> None:
    """Refuse weights to start from beside the recipe that starts from nothing.

    Raises:
        InputError: both are given.
    """
    if config.recipe == "scratch" and config.init_from:
        raise InputError("--recipe=scratch starts from nothing: leave out --weights, or take --recipe=finetune")


def from_default(config: Config) -> Config:
    """Return the config with the network's default weights to start from.

    Raises:
        InputError: it has none.
    """
    default = default_weights(config.model)
    if default is None:
        raise InputError(f"--model={config.model} has no default weights; name some: --weights=FILE_HUB_ID_OR_RUN")
    return replace(config, init_from=default.name)


def train_folds(config: Config, command: str) -> None:
    """Train every fold of a cross-validation in a folder of its own, WORKDIR/fold0 and so on, and compare them.

    Raises:
        InputError: in several processes, which meet once.
    """
    if config.num_processes > 1 or cluster_is_announced():
        raise InputError("--folds trains the folds in turn in one process; in several, run each by itself, --fold=0 …")
    workdirs = [f"{config.workdir}/fold{number}" for number in range(config.folds)]
    for number, workdir in enumerate(workdirs):
        print(f"fold {number + 1} of {config.folds}")
        train(replace(config, fold=number, workdir=workdir))
        report_run(replace(config, workdir=workdir), command)
    groups, unfinished = group_by_options(workdirs)
    print(seed_table(groups))
    page = Path(config.workdir) / "folds.html"
    write_page(page, comparison_page(groups, unfinished, command))
    print(f"the report of all folds is {page}")


def report_run(config: Config, command: str) -> None:
    """Write the report of a finished run, unless it has one; in several processes, print the command that does."""
    page, result = (Path(config.workdir) / name for name in ("report.html", "result.json"))
    if jax.process_count() > 1:
        if is_first_process():
            print(f"for a report: python -m experiments.report --workdir={config.workdir}")
        return
    check_stop("the report")
    # One from before the training's end is of other weights.
    if not page.exists() or page.stat().st_mtime_ns < result.stat().st_mtime_ns:
        trained = load_trained(config.workdir)
        moved = bool(config.data_dir) and str(Path(config.data_dir).absolute()) != trained.run.data_dir
        report = write_report(
            trained,
            page,
            data_dir=config.data_dir if moved else "",
            links_out=config.links_out,
            num_workers=config.num_workers,
            command=command,
        )
        print(report.headline)
    print(f"the report is {page}")


if __name__ == "__main__":
    run_command(main)
