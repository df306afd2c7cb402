"""Pictures of a report: as the network sees them, small, with the regions that speak for its answer."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from resnet_jax.analysis.grad_cam import grad_cam
from resnet_jax.analysis.plots.grad_cam import overlay_map
from resnet_jax.data.plain_images import network_input
from resnet_jax.data.sources.source import Source
from resnet_jax.errors import InputError
from resnet_jax.evaluation.predictions import Predictions
from resnet_jax.inference.trained import Trained
from resnet_jax.runtime.memory import memory_remedy

SHOWN = 20
SIDE = 160  # pixels of the longer side on the page
QUALITY = 80  # of their JPEGs: about 6 KB a photograph


@dataclass(frozen=True)
class Picture:
    """An image of a report.

    Attributes:
        index: of the example.
        image: data URI of what the network sees.
        map: data URI of the same under its Grad-CAM map; "" where the network has none.
    """

    index: int
    image: str
    map: str


def worst(predictions: Predictions, count: int = SHOWN) -> list[int]:
    """Return the wrong examples by their loss, the highest first, and behind them the right ones likewise."""
    return [int(index) for index in np.lexsort((-predictions.loss, predictions.right))[:count]]


def drawn(predictions: Predictions, count: int = SHOWN) -> list[int]:
    """Return examples drawn at random, the same ones in every report on as many images."""
    total = len(predictions.names)
    return [int(index) for index in np.random.default_rng(0).choice(total, min(count, total), replace=False)]


def pictures(
    trained: Trained, source: Source, predictions: Predictions, indices: Sequence[int], rows: int
) -> tuple[dict[int, Picture], str]:
    """Return pictures by the examples' numbers, with the Grad-CAM maps of the predicted classes.

    Args:
        trained: the network.
        source: the set, opened at the network's image size.
        predictions: over the set.
        indices: of the examples.
        rows: images at once, as in the evaluation.

    Returns:
        (pictures, why they have no maps); the second is "" where they have.
    """
    chosen = sorted(set(indices))
    seen = np.stack([network_input(source[index], trained.preprocessing) for index in chosen])
    normalized = np.asarray(trained.preprocessing.normalize({"image": seen})["image"])
    images = [data_uri(image) for image in seen]
    maps, problem = [""] * len(chosen), ""
    try:
        found = maps_of(trained, normalized, predictions.predicted[chosen], rows)
        maps = [data_uri(overlay_map(image, map_)) for image, map_ in zip(seen, found, strict=True)]
    except InputError as error:
        problem = str(error)
    return {index: Picture(index, *uris) for index, *uris in zip(chosen, images, maps, strict=True)}, problem


def maps_of(trained: Trained, images: np.ndarray, classes: np.ndarray, rows: int) -> np.ndarray:
    """Return the Grad-CAM maps [N,H,W] of normalized images [N,H,W,3] for a class each, computed `rows` at once.

    Raises:
        InputError: the network has no stage, or the memory does not suffice.
    """
    parts = [slice(start, start + rows) for start in range(0, len(images), rows)]
    with memory_remedy(lambda: f"take a smaller --batch_size than {rows}"):
        found = [grad_cam(trained.model, trained.variables, images[part], classes[part]).maps for part in parts]
    return np.concatenate(found)


def data_uri(pixels: np.ndarray) -> str:
    """Return an image uint8 [H,W,3] as a small JPEG within an address."""
    image = Image.fromarray(pixels)
    width, height = image.size
    scale = SIDE / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Enlarged pixels stay squares: blurred digits of 8x8 cannot be read.
    resized = image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
    written = io.BytesIO()
    resized.save(written, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode()}"
