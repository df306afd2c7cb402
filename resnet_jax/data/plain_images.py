"""Training images as evaluation sees them, for layers and figures that are computed from images."""

import numpy as np

from resnet_jax.data.order import epoch_order
from resnet_jax.data.preprocessing import Preprocessing
from resnet_jax.data.sources.source import ArraySource, Example, Source, pixels_of


def plain_images(source: Source, preprocessing: Preprocessing, seed: int, count: int) -> np.ndarray:
    """Return `count` images of a set, or all there are, preprocessed as in evaluation: float32 [N,size,size,3].

    They are the first ones of a set that is an array, whose order is random, and for any other the first of a random
    order: folders are sorted by class.

    Args:
        source: the set.
        preprocessing: of the network.
        seed: of that order.
        count: N at most.
    """
    order = range(len(source)) if isinstance(source, ArraySource) else epoch_order(seed, 0, len(source))
    images = [network_input(source[int(index)], preprocessing) for index in order[:count]]
    return np.asarray(preprocessing.normalize({"image": np.stack(images)})["image"])


def network_input(example: Example, preprocessing: Preprocessing) -> np.ndarray:
    """Return an example as a network sees it in evaluation, uint8 [image_size,image_size,3]."""
    image = pixels_of(example)
    return image if preprocessing.keeps(*image.shape[:2]) else preprocessing.crop()(image)
