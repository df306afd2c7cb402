"""Finished runs beside each other on one page: curves, cost, accuracy, and whether they differ on the same images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from resnet_jax.analysis.plots.curves import svg_curves_of_runs
from resnet_jax.config.options import Config
from resnet_jax.data.notices import print_notice
from resnet_jax.errors import InputError
from resnet_jax.evaluation.image_set import image_set, open_set
from resnet_jax.evaluation.intervals import PairedTest, Proportion, mcnemar, proportion
from resnet_jax.evaluation.page import origin_of, render
from resnet_jax.evaluation.predictions import Predictions
from resnet_jax.evaluation.report import predictions_of
from resnet_jax.inference.trained import trained_from_run
from resnet_jax.models.build import build_model
from resnet_jax.models.counts import abstract_variables, parameter_count
from resnet_jax.studies.seed_groups import SeedGroup, differing_options, group_lines, predicts_masks
from resnet_jax.workdir.folder import read_run_config
from resnet_jax.workdir.verified_log import verified_rows


@dataclass(frozen=True)
class ComparedRun:
    """A finished run of a comparison.

    Attributes:
        workdir: its folder.
        seed: its seed.
        rows: of metrics.jsonl.
        top1: of result.json.
        parameters: of the network.
        images: training images seen, each as often as it was.
        seconds: that the steps took, without evaluations; None where they were not timed.
    """

    workdir: str
    seed: int
    rows: list[dict[str, Any]]
    top1: Proportion
    parameters: int
    images: int
    seconds: float | None


@dataclass(frozen=True)
class ComparedPair:
    """Two runs on the same images.

    Attributes:
        first: folder of a run.
        second: folder of another.
        test: of the difference.
    """

    first: str
    second: str
    test: PairedTest


def compared_runs(groups: Sequence[SeedGroup]) -> list[list[ComparedRun]]:
    """Return the runs of each group.

    Raises:
        InputError: a run's config cannot be read.
    """
    return [
        [
            compared_run(group.config, seed, result, Path(workdir))
            for seed, result, workdir in zip(group.seeds, group.results, group.workdirs, strict=True)
        ]
        for group in groups
    ]


def compared_run(config: Config, seed: int, result: dict[str, Any], workdir: Path) -> ComparedRun:
    """Return a finished run from its folder."""
    _, facts = read_run_config(workdir.absolute())
    model = build_model(config, len(facts["class_names"]))
    count, images = result["num_examples"], result["step"] * config.batch_size
    speed = result.get("images_per_second")
    return ComparedRun(
        workdir=str(workdir),
        seed=seed,
        rows=verified_rows(workdir, print_notice),
        top1=proportion(round(result["top1"] * count), count),
        parameters=parameter_count(abstract_variables(model, facts["image_size"])["params"]),
        images=images,
        seconds=images / speed if speed else None,
    )


def run_predictions(workdir: Path) -> Predictions:
    """Return a run's predictions over its validation images: those of its folder if they are of its newest checkpoint.

    Raises:
        InputError: the run or its images cannot be read.
    """
    trained = trained_from_run(workdir)
    images = image_set(trained)
    source = open_set(images, trained, trained.preprocessing.image_size)
    return predictions_of(trained, source, images, workdir, replace=False)  # those there are may be a report's


def paired_tests(
    workdirs: Sequence[str], predictions: Callable[[Path], Predictions] = run_predictions
) -> tuple[list[ComparedPair], list[str]]:
    """Return the paired test of every two runs on the same images, and why others have none.

    Args:
        workdirs: folders of the runs.
        predictions: folder -> predictions over the run's validation images.
    """
    found, problems = {}, []
    for workdir in workdirs:
        try:
            found[workdir] = predictions(Path(workdir))
        except InputError as error:
            problems.append(f"{workdir}: {error}")
    pairs, incomparable = [], 0
    for (a, first), (b, second) in combinations(found.items(), 2):
        if same_images(first, second):
            pairs.append(ComparedPair(a, b, mcnemar(first.right, second.right)))
        else:
            incomparable += 1
    if incomparable:
        problems.append(f"{'No test' if not pairs else 'No test of other pairs'}: their images differ.")
    return pairs, problems


def same_images(first: Predictions, second: Predictions) -> bool:
    """Return whether two networks were evaluated on the same images, files of equal names and sizes, and classes."""
    same_names = first.class_names == second.class_names and first.names == second.names
    same_files = np.array_equal(first.sizes, second.sizes)  # a copy that was blurred has another size
    return same_names and same_files and np.array_equal(first.label, second.label)


def comparison_page(groups: Sequence[SeedGroup], unfinished: Sequence[str], command: str) -> str:
    """Return the page of a comparison as HTML.

    Args:
        groups: finished runs, by their options.
        unfinished: folders of runs that are not.
        command: that makes the page.

    Raises:
        InputError: a run's config cannot be read, or the runs classify pixels.
    """
    if any(map(predicts_masks, groups)):
        raise InputError("--report compares classifiers; leave it out, the table is of masks too")
    compared = compared_runs(groups)
    runs = [run for members in compared for run in members]
    pairs, problems = paired_tests([run.workdir for run in runs])
    return render(
        "comparison.html",
        count=len(runs),
        groups=list(zip(groups, compared, strict=True)),
        differ=differing_options(groups),
        lines=group_lines(groups),
        unfinished=unfinished,
        curves=svg_curves_of_runs([(run.workdir, run.rows) for run in runs]),
        pairs=pairs,
        problems=problems,
        origin=origin_of(command),
    )
