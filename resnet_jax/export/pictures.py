"""Pictures for trying a written network: of the set that it was trained on, or bundled ones."""

import numpy as np

from resnet_jax.data.notices import print_notice
from resnet_jax.data.sources.digits import digits_source
from resnet_jax.data.sources.source import Source, pixels_of
from resnet_jax.errors import InputError
from resnet_jax.evaluation.image_set import Split, image_set, open_any_set
from resnet_jax.inference.trained import Trained


def sample_pictures(
    trained: Trained, count: int, split: Split = "val", dataset: str = "", data_dir: str = ""
) -> tuple[np.ndarray, str]:
    """Return pictures, spread evenly over a set, cropped for a network; the bundled digits where there is no set.

    Args:
        trained: the network.
        count: of pictures; fewer where the set has fewer.
        split: "val" or "train".
        dataset: any that training takes; "" is the run's own.
        data_dir: folder of the data; "" is the run's own.

    Returns:
        (uint8 [N,H,W,3], name of the set).

    Raises:
        InputError: the set that was named cannot be read.
    """
    source, name = _source(trained, split, dataset, data_dir)
    indices = np.linspace(0, len(source) - 1, min(count, len(source))).round().astype(int)
    crop = trained.preprocessing.crop()
    return np.stack([crop(pixels_of(source[int(index)])) for index in indices]), name


def _source(trained: Trained, split: Split, dataset: str, data_dir: str) -> tuple[Source, str]:
    if trained.run is None and not dataset:
        return digits_source("val"), "the bundled digits"
    images = image_set(trained, dataset=dataset, data_dir=data_dir, split=split)
    try:
        return open_any_set(images, trained, trained.preprocessing.image_size), images.title
    except InputError as error:
        if dataset or data_dir:
            raise
        print_notice(f"the run's own pictures cannot be read ({error}); bundled digits take their place")
        return digits_source("val"), "the bundled digits"
