"""Predictions as a table beside a run, and a note of what they are predictions of."""

import csv
import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from resnet_jax.data.sources.folder import FolderSource
from resnet_jax.data.sources.prepared import PreparedSource
from resnet_jax.data.sources.source import Source, example_digest
from resnet_jax.errors import InputError
from resnet_jax.evaluation.image_set import ImageSet
from resnet_jax.evaluation.page import name_of_split
from resnet_jax.evaluation.predictions import NO_SIZES, Predictions
from resnet_jax.files.table import write_table
from resnet_jax.inference.trained import Trained
from resnet_jax.workdir.fingerprint import fingerprint
from resnet_jax.workdir.sealed import digest_of, read_sealed, write_sealed

COLUMNS = ("name", "label", "predicted", "probability", "loss")


def subject_of(trained: Trained, source: Source, images: ImageSet) -> dict[str, Any]:
    """Return what predictions depend on: network, images (of files, names and states), and their preprocessing."""
    seen = trained.preprocessing
    states = source.states() if isinstance(source, FolderSource) else np.zeros(0, np.int64)
    return {
        "model": trained.name,
        "settings": settings_of(trained.model),
        "weights": digest_of(fingerprint(trained.variables)),
        "dataset": images.dataset,
        "split": images.split,
        "examples": example_digest(source),
        "files": hashlib.sha256(states.tobytes()).hexdigest(),
        "image_size": seen.image_size,
        "resize": seen.resize,
        "interpolation": seen.interpolation,
        "mean": list(seen.mean),
        "std": list(seen.std),
        "views": trained.views,
        # Older tables of prepared sets have names with the folder, which those of a copy do not equal.
        **({"names": "below the folder"} if isinstance(source, PreparedSource) else {}),
    }


def settings_of(model: nn.Module) -> dict[str, Any]:
    """Return the fields of a network that are plain values, and its type of computation."""
    values = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
    plain = {name: value for name, value in values.items() if isinstance(value, bool | int | float | str)}
    return plain | {"dtype": jnp.dtype(values.get("dtype", jnp.float32)).name}


def table_name(split: str) -> str:
    """Return the name of the table of a split."""
    return name_of_split("predictions.csv", split)


def write_predictions(folder: Path, predictions: Predictions, subject: dict[str, Any]) -> Path:
    """Write the table, and beside it a JSON file as the note of its subject; return the table's path.

    Raises:
        InputError: they cannot be written.
    """
    classes, path = predictions.class_names, folder / table_name(subject["split"])
    rows = (
        (name, classes[label], classes[predicted], f"{probability:.6g}", f"{loss:.6g}")
        for name, label, predicted, probability, loss in zip(
            predictions.names,
            predictions.label,
            predictions.predicted,
            predictions.probability,
            predictions.loss,
            strict=True,
        )
    )
    write_table(path, COLUMNS, rows)
    # The table's own sum, so that one that was sorted or edited since is not read as it was.
    write_sealed(path.with_suffix(".json"), subject | {"table": _sum(path)})
    return path


def read_predictions(
    folder: Path, subject: dict[str, Any], class_names: tuple[str, ...], sizes: np.ndarray = NO_SIZES
) -> Predictions | None:
    """Return the stored predictions of exactly this subject; None where there are none, or they are of another."""
    path = folder / table_name(subject["split"])
    try:
        if read_sealed(path.with_suffix(".json"), "") != subject | {"table": _sum(path)}:
            return None
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, InputError):
        return None
    number = {name: k for k, name in enumerate(class_names)}
    return Predictions(
        names=tuple(row["name"] for row in rows),
        label=np.array([number[row["label"]] for row in rows]),
        predicted=np.array([number[row["predicted"]] for row in rows]),
        probability=np.array([row["probability"] for row in rows], np.float32),
        loss=np.array([row["loss"] for row in rows], np.float32),
        class_names=class_names,
        sizes=sizes,
    )


def _sum(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
