"""Confusion, against scikit-learn and by hand."""

import numpy as np
from sklearn.metrics import confusion_matrix as sklearn_matrix

from resnet_jax.evaluation.confusion import ConfusedPair, confused_pairs, confusion_matrix, shown_classes

RNG = np.random.default_rng(0)


def test_the_matrix_is_scikit_learns():
    label, predicted = RNG.integers(0, 6, 200), RNG.integers(0, 5, 200)
    expected = sklearn_matrix(label, predicted, labels=range(7))
    np.testing.assert_array_equal(confusion_matrix(label, predicted, 7), expected)


def test_pairs_come_with_the_most_images_first():
    matrix = np.array([[8, 2, 0], [2, 2, 0], [0, 3, 5]])
    assert confused_pairs(matrix) == [
        ConfusedPair(2, 1, 3, 3 / 8),
        ConfusedPair(1, 0, 2, 1 / 2),
        ConfusedPair(0, 1, 2, 1 / 5),
    ]
    assert confused_pairs(np.diag([3, 4])) == []


def test_of_many_classes_the_most_confused_are_shown():
    assert shown_classes(np.eye(30)) == list(range(30))
    matrix = 9 * np.eye(100, dtype=int)
    mistaken = list(range(40, 70))
    for k in mistaken:
        matrix[k, (k + 1 - 40) % 30 + 40] = 1
    assert shown_classes(matrix) == mistaken
