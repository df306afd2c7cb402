"""Finished runs grouped by their options: mean and standard deviation over seeds."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from resnet_jax.config.options import FREE_TO_CHANGE, Config, resolve
from resnet_jax.errors import InputError
from resnet_jax.evaluation.options_shown import as_option
from resnet_jax.files.markdown_table import markdown_table, mean_cell
from resnet_jax.workdir.folder import read_result, read_run_config

# Options that may differ between the runs of one group.
RUN_OPTIONS = FREE_TO_CHANGE | {"seed", "fold"}
# Of classifiers, and of networks that classify pixels: columns, and the numbers of the last three.
COLUMNS = ("network", "recipe", "runs", "epochs", "test top-1 (%)", "with averaged weights", "top-5 (%)")
PIXEL_COLUMNS = (*COLUMNS[:4], "test mean IoU (%)", "with averaged weights", "pixel accuracy (%)")
NUMBERS = ("top1", "ema_top1", "top5")
PIXEL_NUMBERS = ("miou", "ema_miou", "pixel_accuracy")


@dataclass(frozen=True)
class SeedGroup:
    """A group of finished runs that differ in their seed alone, or in the fold of a cross-validation.

    Attributes:
        config: of the first.
        seeds: of the runs.
        results: of their result.json.
        workdirs: their folders.
    """

    config: Config
    seeds: tuple[int, ...]
    results: tuple[dict[str, Any], ...]
    workdirs: tuple[str, ...]

    def mean(self, name: str) -> float:
        """Return the mean of a number in the results."""
        return statistics.fmean(result[name] for result in self.results)

    def spread(self, name: str) -> float | None:
        """Return the standard deviation (n - 1) of a number in the results; None for a single run."""
        values = [result[name] for result in self.results]
        return statistics.stdev(values) if len(values) > 1 else None


def group_by_options(workdirs: Sequence[str | Path]) -> tuple[list[SeedGroup], list[str]]:
    """Group the finished runs in these folders by their options, and return the folders of unfinished ones.

    Raises:
        InputError: a folder holds no run, or two folders hold the same run.
    """
    groups: dict[str, list[tuple[Config, dict[str, Any], str]]] = {}
    unfinished = []
    for workdir in map(Path, workdirs):
        config, facts = read_run_config(workdir.absolute())
        result = read_result(workdir)
        if result is None:
            unfinished.append(str(workdir))
            continue
        key = str((shared_options(config), images_of(config, facts)))
        groups.setdefault(key, []).append((config, result, str(workdir)))
    found = []
    for runs in groups.values():
        runs.sort(key=lambda run: (run[0].seed, run[0].fold))
        configs, results, folders = zip(*runs, strict=True)
        seeds = tuple(config.seed for config in configs)
        for (one, _, folder), (other, _, second) in pairwise(runs):
            if (one.seed, one.fold) == (other.seed, other.fold):
                raise InputError(
                    f"{folder} and {second} hold runs of {one.model} with the same options and seed {one.seed}; name "
                    "one of them"
                )
        found.append(SeedGroup(configs[0], seeds, results, folders))
    return found, unfinished


def shared_options(config: Config) -> dict[str, Any]:
    """Return the options that the runs of a group have in common, by name."""
    return {f.name: resolve(config, f.name) for f in fields(config) if f.name not in RUN_OPTIONS}


def images_of(config: Config, facts: dict[str, Any]) -> tuple[Any, ...]:
    """Return what tells the images of a run from others: their digests; of a fold, how many they are together.

    Names are not all: masks may be corrected beneath the same names.
    """
    digests = [facts.get(name) for name in ("train_examples", "test_examples", "mask_content")]
    counts = [facts.get(name, 0) for name in ("num_train", "num_test")]
    return facts["class_names"], *([sum(counts)] if config.folds else digests)


def differing_options(groups: Sequence[SeedGroup]) -> list[str]:
    """Return the options in which the groups differ."""
    options = [shared_options(group.config) for group in groups]
    return [name for name in options[0] if len({str(o[name]) for o in options}) > 1]


def group_lines(groups: Sequence[SeedGroup]) -> list[str]:
    """Return what tells each group from the others, in the order of the table: its folders, and the options they have.

    The options are those in which the groups differ; where there is none, the groups are of different images.
    """
    names = differing_options(groups)
    return [": ".join(filter(None, (", ".join(g.workdirs), " ".join(_options_of(g, names))))) for g in groups]


def _options_of(group: SeedGroup, names: Sequence[str]) -> list[str]:
    shared = shared_options(group.config)
    return [as_option(name, shared[name]) for name in names]


def seed_table(groups: Sequence[SeedGroup]) -> str:
    """Return a Markdown table: network and recipe, seeds, epochs, accuracies in % as mean and standard deviation.

    Raises:
        InputError: some classify images, and others pixels.
    """
    pixels = {predicts_masks(group) for group in groups}
    if len(pixels) > 1:
        raise InputError("some of these runs classify images and others pixels; compare either by themselves")
    columns, numbers = (PIXEL_COLUMNS, PIXEL_NUMBERS) if True in pixels else (COLUMNS, NUMBERS)
    return markdown_table(columns, (_row(group, numbers) for group in groups))


def predicts_masks(group: SeedGroup) -> bool:
    """Return whether the runs of a group are of masks."""
    return "miou" in group.results[0]


def _row(group: SeedGroup, numbers: tuple[str, str, str]) -> tuple[str, ...]:
    score, averaged, other = numbers
    return (
        group.config.model,
        group.config.recipe or "-",
        str(len(group.seeds)),
        f"{group.mean('epoch'):.4g}",
        _percent(group, score),
        _percent(group, averaged) if averaged in group.results[0] else "-",
        _percent(group, other),
    )


def _percent(group: SeedGroup, name: str) -> str:
    return mean_cell([100 * result[name] for result in group.results])
