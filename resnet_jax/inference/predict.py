"""Predictions of a trained network for image files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from resnet_jax.data.decode import UnreadableImage, decode_image
from resnet_jax.data.preprocessing import Preprocessing
from resnet_jax.errors import InputError
from resnet_jax.inference.trained import Trained
from resnet_jax.inference.tta import build_apply
from resnet_jax.runtime.memory import memory_remedy

NO_IMAGES = "name at least one image file"


def read_images(paths: Sequence[str | Path], preprocessing: Preprocessing) -> np.ndarray:
    """Read image files, resized and cropped: uint8 [N,image_size,image_size,3].

    Raises:
        InputError: there is none, or some are missing or cannot be read; all of those are named.
    """
    if not paths:
        raise InputError(NO_IMAGES)
    images, problems = _crops(paths, preprocessing)
    if problems:
        raise InputError("; ".join(problems))
    return np.stack(images)


def _crops(paths: Sequence[str | Path], preprocessing: Preprocessing) -> tuple[list[np.ndarray], list[str]]:
    """Return the crops of the image files that can be read, and what is wrong with the others."""
    crop = preprocessing.crop()
    images, problems = [], []
    for path in map(Path, paths):
        try:
            images.append(crop(decode_image(path.read_bytes(), str(path))))
        except IsADirectoryError:
            problems.append(f"{path} is a folder; name the files in it: {path}/*")
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
        except UnreadableImage as error:
            problems.append(str(error))
    return images, problems


def probabilities(trained: Trained, images: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """Return class probabilities [N,K] of images uint8 [N,H,W,3], which are resized and cropped already."""
    size = min(batch_size, len(images))
    of_batch = build_probabilities(trained, size)
    return np.concatenate([of_batch(images[i : i + size]) for i in range(0, len(images), size)])


def build_probabilities(trained: Trained, size: int) -> Callable[[np.ndarray], np.ndarray]:
    """Compile a network; return the function from at most `size` images uint8 [B,H,W,3] to probabilities [B,K]."""
    logits_of = build_apply(trained.model, trained.views)

    @jax.jit
    def apply(variables: Any, batch: jax.Array) -> jax.Array:
        return jax.nn.softmax(logits_of(variables, trained.preprocessing.normalize({"image": batch})["image"]))

    def of_batch(images: np.ndarray) -> np.ndarray:
        # The last batch is filled up, so that the network is compiled once.
        fill = np.zeros((size - len(images), *images.shape[1:]), images.dtype)
        return jax.device_get(apply(trained.variables, jnp.asarray(np.concatenate([images, fill]))))[: len(images)]

    return of_batch


def predict(
    trained: Trained, paths: str | Path | Sequence[str | Path], top: int = 5, batch_size: int = 64
) -> list[dict[str, Any]]:
    """Return for each image file {"image", "classes": [{"class", "probability"}, …]}, the likeliest class first.

    Args:
        trained: the network.
        paths: an image file of any size and format, or several.
        top: how many classes; fewer where the network has fewer.
        batch_size: images at once: no more than these are in memory.

    Raises:
        InputError: there is no image, some are missing or cannot be read, all of which are named, or the memory does
            not suffice.
    """
    if trained.classifies_pixels:
        raise InputError(f"{trained.name} classifies pixels: its masks are those of segment.segment_images")
    if isinstance(paths, str | Path):
        paths = [paths]
    if not paths:
        raise InputError(NO_IMAGES)
    for name, value in (("batch_size", batch_size), ("top", top)):
        if value < 1:
            raise InputError(f"--{name}={value} must be at least 1")
    size = min(batch_size, len(paths))
    predictions, problems = [], []
    with memory_remedy(lambda: f"take a smaller --batch_size than {size}"):
        of_batch = build_probabilities(trained, size)
        for start in range(0, len(paths), size):
            batch = paths[start : start + size]
            images, wrong = _crops(batch, trained.preprocessing)
            problems += wrong
            if not problems:
                predictions += _likeliest(trained, batch, of_batch(np.stack(images)), top)
    if problems:
        raise InputError("; ".join(problems))
    return predictions


def _likeliest(trained: Trained, paths: Sequence[str | Path], table: np.ndarray, top: int) -> list[dict[str, Any]]:
    predictions = []
    for path, p in zip(paths, table, strict=True):
        best = np.argsort(-p, kind="stable")[:top]
        classes = [{"class": trained.class_name(int(k)), "probability": round(float(p[k]), 6)} for k in best]
        predictions.append({"image": str(path), "classes": classes})
    return predictions
