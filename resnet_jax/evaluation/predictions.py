"""Predictions of a network for every image of a set."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import jax
import numpy as np

from resnet_jax.data.sources.folder import FolderSource
from resnet_jax.data.sources.own_pictures import is_csv
from resnet_jax.data.sources.prepared import PreparedSource
from resnet_jax.data.sources.source import Source
from resnet_jax.errors import InputError
from resnet_jax.evaluation.image_set import ImageSet
from resnet_jax.evaluation.protocols import build_passes
from resnet_jax.evaluation.scores import Scores, collect, jit_score_step
from resnet_jax.inference.trained import Trained
from resnet_jax.runtime.memory import memory_remedy
from resnet_jax.runtime.sharding import data_mesh, replicated

NO_SIZES = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Predictions:
    """A network's answers to the N images of a set, each once.

    Attributes:
        names: N names; of image files, the path below the folder of the data.
        label: int [N], the true class.
        predicted: int [N], the most probable class.
        probability: float32 [N], of the predicted class.
        loss: float32 [N], minus the logarithm of the true class's probability, nats.
        class_names: K names.
        sizes: int64 [N], bytes of the files; empty of sets that are not files.
    """

    names: tuple[str, ...]
    label: np.ndarray
    predicted: np.ndarray
    probability: np.ndarray
    loss: np.ndarray
    class_names: tuple[str, ...]
    sizes: np.ndarray = field(default_factory=lambda: NO_SIZES)

    @property
    def right(self) -> np.ndarray:
        """Bool [N]: the most probable class is the true one."""
        return self.predicted == self.label


def predict_set(
    trained: Trained, source: Source, images: ImageSet, *, batch_size: int = 0, num_workers: int = -1
) -> Predictions:
    """Return a network's predictions over a set, by the views of its own evaluation.

    Args:
        trained: the network.
        source: the set, opened at the network's image size.
        images: what it is.
        batch_size: 0 is the run's own. The result does not depend on it.
        num_workers: as in `Config`.

    Raises:
        InputError: an image cannot be read, or the memory does not suffice.
    """
    mesh, rows = data_mesh(), trained.images_at_once(batch_size)
    (one,) = build_passes(
        trained,
        "",
        source,
        scales=(),
        batch_size=rows,
        num_workers=num_workers,
        mesh=mesh,
    )
    with memory_remedy(lambda: f"take a smaller --batch_size than {rows}"):
        variables = jax.device_put(trained.variables, replicated(mesh))
        score_step = jit_score_step(one.apply, one.loader.prepare, replicated(mesh))
        scores = collect(one.loader.batches(), partial(score_step, variables), len(source))
    return of_scores(scores, names_of(source, images), source.class_names, sizes_of(source))


def of_scores(
    scores: Scores, names: Sequence[str], class_names: Sequence[str], sizes: np.ndarray = NO_SIZES
) -> Predictions:
    """Return the predictions that scores amount to; of equal scores the first class wins, as in training.

    Raises:
        InputError: scores are not numbers.
    """
    if broken := np.isnan(scores.log_scores).any(axis=1).sum():
        raise InputError(
            f"the network gives no numbers (NaN) for {broken:,} of {len(scores.label):,} images; its weights are "
            "damaged, or not of these images"
        )
    rows = np.arange(len(scores.label))
    predicted = scores.log_scores.argmax(axis=1)
    return Predictions(
        names=tuple(names),
        label=scores.label,
        predicted=predicted,
        probability=np.exp(scores.log_scores[rows, predicted]),
        loss=0 - scores.log_scores[rows, scores.label],  # a minus sign would make -0 of a loss of 0
        class_names=tuple(class_names),
        sizes=sizes,
    )


def sizes_of(source: Source) -> np.ndarray:
    """Return the bytes of a set's image files, int64 [N]; empty of other sets."""
    return source.states()[:, 0] if isinstance(source, FolderSource) else NO_SIZES


def names_of(source: Source, images: ImageSet) -> list[str]:
    """Return the names of all examples, below the folder of the data, wherever that lies."""
    folder = Path(images.data_dir).expanduser()
    behind = " " if isinstance(source, PreparedSource) else os.sep  # OUT val example 3, ROOT/val/CLASS/3.jpg
    root = f"{folder.parent if is_csv(images.data_dir) else folder}{behind}" if images.data_dir else ""
    if isinstance(source, FolderSource):  # known without reading the files
        names = [str(source.path(index)) for index in range(len(source))]
    else:
        names = [source[index].name for index in range(len(source))]
    return [shown_name(name, root) for name in names]


def shown_name(name: str, root: str) -> str:
    """Return a name as tables and pages have it, below `root`; bytes that are not UTF-8 become question marks."""
    return os.fsencode(name.removeprefix(root)).decode(errors="replace")
