"""A report on a trained network: where it is wrong and how sure it is, as one HTML page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resnet_jax.analysis.plots.calibration import svg_reliability
from resnet_jax.analysis.plots.curves import svg_curves
from resnet_jax.data.notices import print_notice
from resnet_jax.data.sources.source import Source
from resnet_jax.evaluation.calibration import BINS, Calibration, calibration
from resnet_jax.evaluation.confusion import MOST_PAIRS, ConfusedPair, confused_pairs, confusion_matrix, shown_classes
from resnet_jax.evaluation.gallery import Picture, drawn, pictures, worst
from resnet_jax.evaluation.image_set import ImageSet, Split, image_set, open_set
from resnet_jax.evaluation.intervals import Proportion, proportion
from resnet_jax.evaluation.mask_report import MaskReport, write_mask_report
from resnet_jax.evaluation.options_shown import changed_options
from resnet_jax.evaluation.page import Origin, check_page, origin_of, render, write_page
from resnet_jax.evaluation.predictions import Predictions, predict_set, sizes_of
from resnet_jax.evaluation.shared_images import SharedImages, shared_images
from resnet_jax.evaluation.stored_predictions import (
    COLUMNS,
    read_predictions,
    subject_of,
    table_name,
    write_predictions,
)
from resnet_jax.files.table import refuse_other_table
from resnet_jax.inference.trained import Trained
from resnet_jax.workdir.verified_log import verified_rows


@dataclass(frozen=True)
class Report:
    """Contents of the page of a network.

    Attributes:
        trained: the network.
        images: the set.
        predictions: over the set.
        facts: of config.json; {} for weights that no run of ours trained.
        rows: of metrics.jsonl.
        top1: accuracy over the set.
        classes: accuracy by class, K; None for a class without images.
        matrix: int [K,K], the confusion matrix.
        shown: classes whose part of the matrix is shown.
        pairs: confused pairs, the most images first.
        calibration: of the predicted classes' probabilities.
        pictures: by example.
        no_maps: why the pictures have no Grad-CAM maps; "" where they have.
        worst: examples.
        drawn: examples, at random.
        shared: near-duplicates among the training images.
        training: options of the training that differ from the defaults.
        origin: of the report.
        table: name of the table beside the page.
    """

    trained: Trained
    images: ImageSet
    predictions: Predictions
    facts: dict[str, Any]
    rows: list[dict[str, Any]]
    top1: Proportion
    classes: tuple[Proportion | None, ...]
    matrix: np.ndarray
    shown: tuple[int, ...]
    pairs: tuple[ConfusedPair, ...]
    calibration: Calibration
    pictures: dict[int, Picture]
    no_maps: str
    worst: tuple[int, ...]
    drawn: tuple[int, ...]
    shared: SharedImages
    training: tuple[str, ...]
    origin: Origin
    table: str

    @property
    def loss(self) -> float:
        """Mean loss, nats."""
        return float(self.predictions.loss.mean(dtype=np.float64))

    @property
    def headline(self) -> str:
        """The result in one line."""
        return (
            f"top-1 {self.top1.value:.4f} (95 % interval {self.top1.low:.4f} to {self.top1.high:.4f}), "
            f"loss {self.loss:.4f}, calibration error {self.calibration.error:.4f} over {self.top1.total:,} images"
        )


def write_report(
    trained: Trained,
    out: str | Path,
    *,
    dataset: str = "",
    data_dir: str = "",
    split: Split = "val",
    links_out: bool = False,
    batch_size: int = 0,
    num_workers: int = -1,
    command: str = "",
) -> Report | MaskReport:
    """Evaluate a network and write the page of its report, and a table of all images beside it.

    The table is predictions.csv, of other splits predictions-SPLIT.csv. Of a network that classifies pixels the page is
    `write_mask_report`'s.

    One process does it: a training in several prints the command instead.

    Args:
        trained: the network, of a run (`trained_from_run`) or with other weights.
        out: the page to write or replace.
        dataset: any that training takes; "" is the one that the network was trained on.
        data_dir: folder of the data; "" is that of the training.
        split: "val", "train" or, of one's own pictures, "test".
        links_out: read symbolic links that leave the folder of the data.
        batch_size: 0 is the run's own.
        num_workers: as in `Config`.
        command: that makes the report, for the page.

    Raises:
        InputError: the data cannot be read, the set has other classes than the network, a file cannot be written,
            or another file has the name of the table.
    """
    out = Path(out)
    check_page(out)
    if trained.classifies_pixels:
        return write_mask_report(
            trained, out, dataset=dataset, data_dir=data_dir, split=split, num_workers=num_workers, command=command
        )
    refuse_other_table(out.with_name(table_name(split)), COLUMNS)
    images = image_set(trained, dataset=dataset, data_dir=data_dir, split=split, links_out=links_out)
    source = open_set(images, trained, trained.preprocessing.image_size)
    predictions = predictions_of(trained, source, images, out.parent, batch_size=batch_size, num_workers=num_workers)
    report = build_report(trained, source, images, predictions, command, trained.images_at_once(batch_size))
    write_page(out, page_of(report))
    return report


def predictions_of(
    trained: Trained,
    source: Source,
    images: ImageSet,
    folder: Path,
    *,
    replace: bool = True,
    batch_size: int = 0,
    num_workers: int = -1,
) -> Predictions:
    """Return the predictions that are stored in a folder; where they are of anything else, make and store new ones.

    Args:
        trained: the network.
        source: the images.
        images: what they are of.
        folder: of the table.
        replace: store new ones in place of others; else only where there are none.
        batch_size: 0 is the run's own.
        num_workers: as in `Config`.

    Raises:
        InputError: an image cannot be read, or they cannot be written.
    """
    subject = subject_of(trained, source, images)
    stored = read_predictions(folder, subject, tuple(source.class_names), sizes_of(source))
    if stored is not None:
        return stored
    predictions = predict_set(trained, source, images, batch_size=batch_size, num_workers=num_workers)
    if replace or not (folder / table_name(subject["split"])).exists():
        write_predictions(folder, predictions, subject)
    return predictions


def build_report(
    trained: Trained, source: Source, images: ImageSet, predictions: Predictions, command: str, rows: int
) -> Report:
    """Return everything that the page of a network shows; `rows` are the images at once."""
    folder = Path(trained.source) if trained.run is not None else None
    matrix = confusion_matrix(predictions.label, predictions.predicted, len(predictions.class_names))
    shown, chosen = worst(predictions), drawn(predictions)
    found, no_maps = pictures(trained, source, predictions, [*shown, *chosen], rows)
    return Report(
        trained=trained,
        images=images,
        predictions=predictions,
        facts=dict(trained.facts),
        rows=verified_rows(folder, print_notice) if folder else [],
        top1=proportion(int(predictions.right.sum()), len(predictions.label)),
        classes=tuple(
            proportion(int(matrix[k, k]), int(total)) if total else None for k, total in enumerate(matrix.sum(axis=1))
        ),
        matrix=matrix,
        shown=tuple(shown_classes(matrix)),
        pairs=tuple(confused_pairs(matrix)),
        calibration=calibration(predictions.probability, predictions.right),
        pictures=found,
        no_maps=no_maps,
        worst=tuple(shown),
        drawn=tuple(chosen),
        shared=shared_images(trained, source, images, predictions.names),
        training=changed_options(trained.run),
        origin=origin_of(command),
        table=table_name(images.split),
    )


def page_of(report: Report) -> str:
    """Return the page as HTML."""
    by_accuracy = sorted(
        zip(report.predictions.class_names, report.classes, strict=True),
        key=lambda named: named[1].value if named[1] else 2.0,  # a class without images comes last
    )
    return render(
        "report.html",
        report=report,
        by_accuracy=by_accuracy,
        most_pairs=MOST_PAIRS,
        bins=BINS,
        curves=svg_curves(report.rows) if report.rows else [],
        reliability=svg_reliability(report.calibration.counts, report.calibration.accuracy),
    )
