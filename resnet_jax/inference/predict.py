"""Predictions of a trained network for image files."""

from collections.abc import Sequence
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


def read_images(paths: Sequence[str | Path], preprocessing: Preprocessing) -> np.ndarray:
    """Read image files, resized and cropped: uint8 [N,image_size,image_size,3].

    Raises:
        InputError: there is none, or some are missing or cannot be read; all of those are named.
    """
    if not paths:
        raise InputError("name at least one image file")
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
    if problems:
        raise InputError("; ".join(problems))
    return np.stack(images)


def probabilities(trained: Trained, images: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """Return class probabilities [N,K] of images uint8 [N,H,W,3], which are resized and cropped already."""
    logits_of = build_apply(trained.model, trained.views)

    @jax.jit
    def apply(variables: Any, batch: jax.Array) -> jax.Array:
        return jax.nn.softmax(logits_of(variables, trained.preprocessing.normalize({"image": batch})["image"]))

    # The last batch is filled up, so that the network is compiled once.
    size = min(batch_size, len(images))
    fill = np.zeros((-len(images) % size, *images.shape[1:]), images.dtype)
    filled = np.concatenate([images, fill])
    parts = [apply(trained.variables, jnp.asarray(filled[i : i + size])) for i in range(0, len(filled), size)]
    return np.concatenate(jax.device_get(parts))[: len(images)]


def predict(trained: Trained, paths: Sequence[str | Path], top: int = 5) -> list[dict[str, Any]]:
    """Return for each image file {"image", "classes": [{"class", "probability"}, …]}, the likeliest class first.

    Args:
        trained: the network.
        paths: image files of any size and format.
        top: how many classes; fewer where the network has fewer.

    Raises:
        InputError: an image cannot be read.
    """
    images = read_images(paths, trained.preprocessing)
    predictions = []
    for path, p in zip(paths, probabilities(trained, images), strict=True):
        best = np.argsort(-p, kind="stable")[:top]
        classes = [{"class": trained.class_name(int(k)), "probability": round(float(p[k]), 6)} for k in best]
        predictions.append({"image": str(path), "classes": classes})
    return predictions
