"""What a trained network says of images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from resnet_jax.config.options import Config
from resnet_jax.data.build import eval_transform, normalizer
from resnet_jax.data.decode import UnreadableImage, decode_image
from resnet_jax.errors import InputError
from resnet_jax.inference.trained import Trained
from resnet_jax.inference.tta import build_apply


def read_images(paths: Sequence[str | Path], config: Config, image_size: int) -> np.ndarray:
    """Image files as the network's evaluation sees them: uint8 [N,image_size,image_size,3].

    Raises:
        InputError: there is none, or some are missing or cannot be read; all of those are named.
    """
    if not paths:
        raise InputError("name at least one image file")
    transform = eval_transform(config, image_size)
    images, problems = [], []
    for path in map(Path, paths):
        try:
            images.append(transform(decode_image(path.read_bytes(), str(path))))
        except IsADirectoryError:
            problems.append(f"{path} is a folder; name the files in it: {path}/*")
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
        except UnreadableImage as error:
            problems.append(str(error))
    if problems:
        raise InputError("; ".join(problems))
    return np.stack(images)


def probabilities(model: Any, variables: Any, images: np.ndarray, config: Config, batch_size: int = 64) -> np.ndarray:
    """Class probabilities [N,K] of images uint8 [N,H,W,3]."""
    prepare, logits_of = normalizer(config), build_apply(model, config.eval_views)

    @jax.jit
    def apply(variables: Any, batch: jax.Array) -> jax.Array:
        return jax.nn.softmax(logits_of(variables, prepare({"image": batch})["image"]))

    # The last batch is filled up, so that the network is compiled once.
    size = min(batch_size, len(images))
    fill = np.zeros((-len(images) % size, *images.shape[1:]), images.dtype)
    filled = np.concatenate([images, fill])
    parts = [apply(variables, jnp.asarray(filled[i : i + size])) for i in range(0, len(filled), size)]
    return np.concatenate(jax.device_get(parts))[: len(images)]


def predict_files(trained: Trained, paths: Sequence[str | Path], top: int = 5) -> list[dict[str, Any]]:
    """For each image file {"image", "classes": [{"class", "probability"}, …]}, the likeliest first.

    Args:
        trained: the network.
        paths: image files of any size and format.
        top: how many classes; fewer where the network has fewer.

    Raises:
        InputError: an image cannot be read.
    """
    images = read_images(paths, trained.config, trained.image_size)
    answers = []
    for path, p in zip(paths, probabilities(trained.model, trained.variables, images, trained.config), strict=True):
        best = np.argsort(-p, kind="stable")[:top]
        classes = [{"class": trained.name_of(int(k)), "probability": round(float(p[k]), 6)} for k in best]
        answers.append({"image": str(path), "classes": classes})
    return answers
