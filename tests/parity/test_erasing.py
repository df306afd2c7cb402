"""Random erasing draws its boxes as torchvision does."""

import jax
import numpy as np
import pytest

from resnet_jax.data.augment import erasing

from .originals import torch, torchvision

COUNT = 4000


def theirs(height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]) -> np.ndarray:
    torch.manual_seed(0)
    image, boxes = torch.zeros((1, height, width)), []
    for _ in range(COUNT):
        top, left, tall, wide, filling = torchvision.transforms.RandomErasing.get_params(image, scale, ratio, [0.0])
        found = filling.shape != image.shape  # without a box, it gives the image back
        boxes.append((top, left, tall, wide) if found else (0, 0, 0, 0))
    return np.array(boxes)


def ours(height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]) -> np.ndarray:
    keys = jax.random.split(jax.random.key(0), COUNT)
    return np.asarray(jax.vmap(lambda key: erasing.erasing_box(key, height, width, scale, ratio))(keys))


@pytest.mark.parametrize(
    ("height", "width", "scale", "ratio"),
    [
        (32, 32, (0.02, 0.33), (0.3, 3.3)),
        (224, 160, (0.02, 1 / 3), (0.3, 1 / 0.3)),
        (20, 64, (0.3, 0.9), (0.3, 3.3)),  # many tries do not fit
        (16, 64, (0.3, 0.9), (2.0, 3.3)),  # often none does
    ],
)
def test_boxes_are_distributed_alike(height, width, scale, ratio):
    samples = [draw(height, width, scale, ratio) for draw in (ours, theirs)]
    found = [boxes[:, 2] > 0 for boxes in samples]
    assert abs(found[0].mean() - found[1].mean()) < 0.04
    # The largest distance of two distributions of 4000 draws each; 0.036 is passed by chance once in a hundred tests.
    a, b = (boxes[real] for boxes, real in zip(samples, found, strict=True))
    areas = [boxes[:, 2] * boxes[:, 3] for boxes in (a, b)]
    for ours_, theirs_ in [*zip(a.T, b.T, strict=True), areas]:
        if len(ours_):
            assert distance(ours_, theirs_) < 1.63 * np.sqrt(1 / len(ours_) + 1 / len(theirs_))


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Kolmogorov and Smirnov's: the largest difference of the shares below any value."""
    values = np.union1d(a, b)
    below = [np.searchsorted(np.sort(sample), values, "right") / len(sample) for sample in (a, b)]
    return float(np.abs(below[0] - below[1]).max())
