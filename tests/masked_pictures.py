"""Pictures with masks on the disk: colored rectangles, whose colors are their classes."""

from pathlib import Path

import numpy as np
from PIL import Image

COLORS = np.array([[40, 40, 60], [220, 60, 40], [60, 200, 80]], np.uint8)  # of classes 0, 1 and 2
VOID = 255


def picture(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A noisy picture uint8 [H,W,3], and its labels uint8 [H,W] with a void border on one side."""
    height, width = size
    labels = np.zeros(size, np.uint8)
    for k in (1, 2):
        top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
        labels[top : top + height // 3 + 2, left : left + width // 3 + 2] = k
    noise = rng.integers(-12, 13, (*size, 3))
    image = (COLORS[labels].astype(int) + noise).clip(0, 255).astype(np.uint8)
    labels[:2] = VOID
    return image, labels


def write_pictures(root: Path, counts: dict[str, int], sizes=((24, 32),), seed: int = 0) -> Path:
    """Write ROOT/SPLIT/images/N.png and ROOT/SPLIT/masks/N.png; return ROOT."""
    rng = np.random.default_rng(seed)
    for split, count in counts.items():
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        for number in range(count):
            image, labels = picture(rng, sizes[number % len(sizes)])
            Image.fromarray(image).save(root / split / "images" / f"{number}.png")
            Image.fromarray(labels).save(root / split / "masks" / f"{number}.png")
    return root
