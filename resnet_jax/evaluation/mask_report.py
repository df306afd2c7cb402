"""A report on a network that classifies pixels: which classes it finds, and pictures that show where it is wrong."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resnet_jax.analysis.plots.curves import svg_curves
from resnet_jax.data.loader import worker_count
from resnet_jax.data.mask_checks import absent_classes, check_masks
from resnet_jax.data.notices import print_notice
from resnet_jax.data.sources.mask_coding import Color, MaskCoding
from resnet_jax.data.sources.masks import MaskSource
from resnet_jax.data.sources.source import pixels_of
from resnet_jax.evaluation.confusion import shown_classes
from resnet_jax.evaluation.gallery import data_uri
from resnet_jax.evaluation.image_set import Split
from resnet_jax.evaluation.masks import open_masks_for, task_of
from resnet_jax.evaluation.options_shown import changed_options
from resnet_jax.evaluation.page import Origin, name_of_split, origin_of, render, write_page
from resnet_jax.evaluation.picture_scores import REMEDY, PictureScores, score_pictures
from resnet_jax.evaluation.predictions import shown_name
from resnet_jax.files.table import refuse_other_table, write_table
from resnet_jax.inference.segment import (
    at_size_of,
    build_labeling,
    coding_of,
    overlay_mask,
    short_side_of,
    shown_colors,
)
from resnet_jax.inference.trained import Trained
from resnet_jax.runtime.batch import IGNORE
from resnet_jax.training.pixel_metrics import pixel_confusion, pixel_metrics_text, scores_of_confusion
from resnet_jax.workdir.verified_log import verified_rows

SHOWN = 10  # pictures of each kind
COLUMNS = ("picture", "miou", "pixel_accuracy")
WRONG, RIGHT = (220, 38, 38), (34, 160, 84)


@dataclass(frozen=True)
class MaskPicture:
    """A picture of the report.

    Attributes:
        name: of the file.
        miou: mean over the classes that its mask or its prediction has; NaN where neither has any.
        accuracy: part of its counted pixels that are right.
        truth: data URI of the picture under its mask.
        predicted: data URI of the picture under the prediction.
        errors: data URI of the picture with right and wrong pixels in green and red, those that do not count plain.
    """

    name: str
    miou: float
    accuracy: float
    truth: str
    predicted: str
    errors: str


@dataclass(frozen=True)
class MaskReport:
    """Contents of the page.

    Attributes:
        trained: the network.
        source: the pictures and masks.
        coding: of the masks.
        split: of the set.
        scores: of `scores_of_confusion` and `pixel_metrics`; NaN of what is a mean of nothing.
        matrix: int64 [K,K], or [K,2,2].
        shares: of each class in the counted pixels.
        shown: classes whose part of the matrix is shown.
        absent: names of classes without pixels.
        worst: the pictures with the lowest mean IoU.
        best: those with the highest.
        rows: of metrics.jsonl.
        training: options of the training that differ from the defaults.
        origin: of the report.
        table: name of the table beside the page.
    """

    trained: Trained
    source: MaskSource
    coding: MaskCoding
    split: str
    scores: dict[str, Any]
    matrix: np.ndarray
    shares: np.ndarray
    shown: tuple[int, ...]
    absent: tuple[str, ...]
    worst: tuple[MaskPicture, ...]
    best: tuple[MaskPicture, ...]
    rows: list[dict[str, Any]]
    training: tuple[str, ...]
    origin: Origin
    table: str

    @property
    def counted(self) -> int:
        """Number of classes that the mean IoU is over: those of truth or prediction."""
        return int((~np.isnan(self.scores["iou"])).sum())

    @property
    def colors(self) -> tuple[Color, ...]:
        """Color of each class on the page."""
        return shown_colors(self.coding)

    @property
    def headline(self) -> str:
        """The result in one line."""
        return f"{pixel_metrics_text(self.scores)} over {len(self.source):,} pictures"


def write_mask_report(
    trained: Trained,
    out: Path,
    *,
    dataset: str = "",
    data_dir: str = "",
    split: Split = "val",
    num_workers: int = -1,
    command: str = "",
) -> MaskReport:
    """Evaluate a network on masks, write the page of its report, and pictures.csv (or pictures-SPLIT.csv) beside it.

    Args:
        trained: the network.
        out: the page to write or replace.
        dataset: "masks" or "masks:NAME" of TFDS; "" is that of the training.
        data_dir: ROOT; "" is that of the training.
        split: "val", "train" or "test".
        num_workers: as in `Config`.
        command: that makes the report, for the page.

    Raises:
        InputError: the pictures or masks cannot be used, a file cannot be written, or another file has the name
            of the table.
    """
    table = name_of_split("pictures.csv", split)
    refuse_other_table(out.with_name(table), COLUMNS)
    source, coding = open_masks_for(trained, dataset, data_dir, split), coding_of(trained)
    facts = check_masks(source, worker_count(num_workers, len(source)))
    labels_of, task = build_labeling(trained, coding, remedy=REMEDY), task_of(trained)
    total, each = score_pictures(source, labels_of, task, coding, short_side_of(trained))
    matrix = pixel_confusion(total)
    # Of binary masks a picture may have no pixel of a class, in truth and prediction: nothing about it is wrong.
    names = [shown_name(source.picture_name(index), f"{source.place}{os.sep}") for index in range(len(source))]
    order = sorted(range(len(source)), key=lambda index: np.nan_to_num(each[index].miou, nan=1.0))

    def picture(index: int) -> MaskPicture:
        example = source[index]
        image, label = pixels_of(example), example.label
        found = at_size_of(image, labels_of(image))
        return MaskPicture(
            name=names[index],
            miou=each[index].miou,
            accuracy=each[index].accuracy,
            truth=data_uri(overlay_mask(image, label, coding)),
            predicted=data_uri(overlay_mask(image, found, coding)),
            errors=data_uri(error_map(image, label, found)),
        )

    folder = Path(trained.source) if trained.run is not None else None
    report = MaskReport(
        trained=trained,
        source=source,
        coding=coding,
        split=split,
        scores={"boundary_f": math.nan} | scores_of_confusion(matrix) | task.metrics(total),
        matrix=matrix,
        shares=true_shares(matrix),
        shown=tuple(shown_classes(matrix)) if matrix.ndim == 2 else (),
        absent=tuple(absent_classes(facts, coding.class_names)),
        worst=tuple(map(picture, order[:SHOWN])),
        best=tuple(map(picture, order[::-1][:SHOWN])),
        rows=verified_rows(folder, print_notice) if folder else [],
        training=changed_options(trained.run),
        origin=origin_of(command),
        table=table,
    )
    write_table(out.with_name(table), COLUMNS, map(_table_row, names, each))
    curves = svg_curves(report.rows) if report.rows else []
    write_page(out, render("mask_report.html", report=report, curves=curves))
    return report


def _table_row(name: str, scores: PictureScores) -> tuple[str, str, str]:
    return name, "" if np.isnan(scores.miou) else f"{scores.miou:.6f}", f"{scores.accuracy:.6f}"


def true_shares(matrix: np.ndarray) -> np.ndarray:
    """Return the part of the counted pixels that truly has each class, [K], of int64 [K,K] or [K,2,2]."""
    if matrix.ndim == 3:
        return matrix[:, 1].sum(axis=-1) / np.maximum(matrix.sum(axis=(1, 2)), 1)
    return matrix.sum(axis=1) / max(1, matrix.sum())


def error_map(image: np.ndarray, label: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return a picture in gray with its right pixels in green and its wrong ones in red: uint8 [H,W,3]."""
    valid, right = label != IGNORE, label == found
    if label.ndim == 3:
        valid, right = valid.any(axis=-1), (right | ~valid).all(axis=-1)
    gray = np.repeat(image.mean(axis=-1, keepdims=True), 3, axis=-1)
    tone = np.where(right[..., None], np.array(RIGHT), np.array(WRONG))
    strength = np.where(right, 0.25, 0.65)[..., None]
    return np.where(valid[..., None], gray * (1 - strength) + tone * strength, gray).round().astype(np.uint8)
