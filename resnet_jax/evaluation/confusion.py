"""Confusion matrix, and the pairs of classes that are confused most."""

from dataclasses import dataclass

import numpy as np

MOST_CLASSES = 30  # of a table that can still be read
MOST_PAIRS = 15


@dataclass(frozen=True)
class ConfusedPair:
    """Images of one class that are taken for another.

    Attributes:
        label: number of the class that they are of.
        predicted: number of the class that they are taken for.
        count: images.
        share: of all images of the class, in (0, 1].
    """

    label: int
    predicted: int
    count: int
    share: float


def confusion_matrix(label: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Return int [K,K]: images of the class of the row that are predicted as the class of the column."""
    return np.bincount(label * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


def confused_pairs(matrix: np.ndarray) -> list[ConfusedPair]:
    """Return all pairs of classes with images off the diagonal, the most images first."""
    totals = matrix.sum(axis=1)
    pairs = [
        ConfusedPair(int(i), int(j), int(matrix[i, j]), matrix[i, j] / totals[i])
        for i, j in zip(*np.nonzero(matrix), strict=True)
        if i != j
    ]
    return sorted(pairs, key=lambda pair: (-pair.count, -pair.share, pair.label, pair.predicted))


def shown_classes(matrix: np.ndarray) -> list[int]:
    """Return the classes whose part of the matrix is worth showing: all, or the most confused of very many."""
    if len(matrix) <= MOST_CLASSES:
        return list(range(len(matrix)))
    wrong = matrix - np.diag(np.diag(matrix))
    mistakes = wrong.sum(axis=0) + wrong.sum(axis=1)
    return sorted(int(k) for k in np.argsort(-mistakes, kind="stable")[:MOST_CLASSES])
