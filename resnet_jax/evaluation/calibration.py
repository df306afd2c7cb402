"""Calibration: whether a network that is sure of 80 % is right 80 times of 100 (Guo et al. 2017, arXiv:1706.04599)."""

from dataclasses import dataclass

import numpy as np

BINS = 15  # as Guo et al.


@dataclass(frozen=True)
class Calibration:
    """Accuracy by confidence, the probability that the network gives the class it predicts.

    Attributes:
        counts: int [BINS], images in each of the bins (0, 1/15], (1/15, 2/15], …
        confidence: float [BINS], mean in each bin; NaN in an empty one.
        accuracy: float [BINS], fraction that is right in each bin; NaN in an empty one.
        error: the expected calibration error, in [0, 1]: the mean over images of the distance of the two in their bin.
        mean_confidence: over all images.
    """

    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    error: float
    mean_confidence: float


def calibration(confidence: np.ndarray, right: np.ndarray) -> Calibration:
    """Return the calibration of a network.

    Args:
        confidence: float [N], the probability of the predicted class.
        right: bool [N].
    """
    confidence = confidence.astype(np.float64)
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    filled = np.where(counts, counts, np.nan)
    mean = np.bincount(bins, confidence, BINS) / filled
    accuracy = np.bincount(bins, right, BINS) / filled
    error = float(np.nansum(np.abs(mean - accuracy) * counts) / len(confidence))
    return Calibration(counts, mean, accuracy, error, float(confidence.mean()))
