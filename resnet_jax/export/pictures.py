"""Pictures for trying a written network: of the set that it was trained on, or bundled ones."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from resnet_jax.data.notices import print_notice
from resnet_jax.data.sources.digits import digits_source
from resnet_jax.data.sources.load import has_masks
from resnet_jax.data.sources.source import pixels_of
from resnet_jax.errors import InputError
from resnet_jax.evaluation.image_set import Split, image_set, open_any_set, open_set
from resnet_jax.evaluation.masks import open_masks_for
from resnet_jax.inference.trained import Trained

BUNDLED = "the bundled digits"


@dataclass(frozen=True)
class Sample:
    """Pictures of a set, cropped for a network.

    Attributes:
        pictures: uint8 [N,H,W,3].
        labels: int32 [N] of the network's classes; None where they are not those of the set.
        name: of the set.
    """

    pictures: np.ndarray
    labels: np.ndarray | None
    name: str


def sample_pictures(
    trained: Trained, count: int, split: Split = "val", dataset: str = "", data_dir: str = ""
) -> Sample:
    """Return pictures, spread evenly over a set; the bundled digits where there is no set.

    Args:
        trained: the network.
        count: of pictures; fewer where the set has fewer.
        split: "val" or "train".
        dataset: any that training takes; "" is the run's own.
        data_dir: folder of the data; "" is the run's own.

    Raises:
        InputError: the set that was named cannot be read.
    """
    return _spread(trained, count, *_source(trained, split, dataset, data_dir))


def _spread(trained: Trained, count: int, source: Any, name: str) -> Sample:
    indices = np.linspace(0, len(source) - 1, min(count, len(source))).round().astype(int)
    crop, examples = trained.preprocessing.crop(), [source[int(index)] for index in indices]
    pictures = np.stack([crop(pixels_of(example)) for example in examples])
    labeled = name != BUNDLED and not trained.classifies_pixels
    return Sample(pictures, np.array([e.label for e in examples], np.int32) if labeled else None, name)


def labeled_pictures(trained: Trained, count: int, split: Split, dataset: str = "", data_dir: str = "") -> Sample:
    """Return pictures with labels of the network's classes; arguments as in `sample_pictures`.

    Raises:
        InputError: there is no set with these classes.
    """
    if trained.classifies_pixels:
        raise InputError("--int8 is for networks that classify images, not pixels; --half halves the file's size")
    if trained.run is None and not dataset:
        raise InputError("--int8 needs pictures with the network's classes: --dataset=folder --data_dir=ROOT")
    images = image_set(trained, dataset=dataset, data_dir=data_dir, split=split)
    source = open_set(images, trained, trained.preprocessing.image_size)  # refuses other classes
    return _spread(trained, count, source, images.title)


def calibration_pictures(trained: Trained, count: int, dataset: str = "", data_dir: str = "") -> Sample:
    """Return training pictures, or validation pictures of a set that has no others; arguments as in `sample_pictures`.

    Raises:
        InputError: the set cannot be read.
    """
    try:
        return sample_pictures(trained, count, "train", dataset, data_dir)
    except InputError as error:
        print_notice(f"ranges come from validation pictures: the set has none for training ({error})")
        return sample_pictures(trained, count, "val", dataset, data_dir)


def _source(trained: Trained, split: Split, dataset: str, data_dir: str) -> tuple[Any, str]:
    if trained.run is None and not dataset:
        if data_dir:
            raise InputError(f"--data_dir={data_dir} needs --dataset: weights of no run have no set of their own")
        return digits_source("val"), BUNDLED
    try:
        run = trained.run
        if trained.classifies_pixels and (has_masks(dataset) or (run is not None and not dataset)):
            masks = open_masks_for(trained, dataset, data_dir, split)
            return masks, dataset or trained.dataset
        images = image_set(trained, dataset=dataset, data_dir=data_dir, split=split)
        return open_any_set(images, trained, trained.preprocessing.image_size), images.title
    except InputError as error:
        if dataset or data_dir or split == "train":
            raise
        print_notice(f"the run's own pictures cannot be read ({error}); {BUNDLED} take their place")
        return digits_source("val"), BUNDLED
