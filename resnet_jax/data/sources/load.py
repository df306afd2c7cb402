"""Data sources by name: `load_source` opens a split of any of them."""

from dataclasses import replace
from typing import Literal

import numpy as np

from resnet_jax.data.augment.resize import Interpolation, resize
from resnet_jax.data.sources.cifar import cifar_source
from resnet_jax.data.sources.digits import digits_source
from resnet_jax.data.sources.fake import fake_source
from resnet_jax.data.sources.held_out import FolderRule
from resnet_jax.data.sources.masks import mask_source
from resnet_jax.data.sources.own_pictures import own_pictures
from resnet_jax.data.sources.prepared import prepared_source
from resnet_jax.data.sources.source import ArraySource, Source
from resnet_jax.data.sources.tfds import tfds_source
from resnet_jax.errors import InputError

# CIFAR-10 at 224 pixels, which fine-tuning wants, is 7.5 GB.
MAX_RESIZED_BYTES = 8 * 2**30
AS_THEY_LIE = FolderRule()


def load_source(
    name: str,
    split: Literal["train", "val", "test"],
    data_dir: str | None,
    image_size: int,
    rule: FolderRule = AS_THEY_LIE,
    interpolation: Interpolation = "bilinear",
) -> Source:
    """Open one split of a data set.

    Args:
        name: "digits", "cifar10", "cifar100", "folder", "masks" (whose values are its classes), "prepared", "fake", or
            an image classification set of TFDS.
        split: "train"; "val", which is the test set where there is no other; or "test", of one's own pictures.
        data_dir: where the data lie; digits and fake need none, TFDS has a default.
        image_size: sets that are held in memory are resized to it, 0 for their own size; the images of the others
            keep their sizes until a transform crops them.
        rule: of one's own pictures, how training and validation images are told from each other.
        interpolation: of that resizing, antialiased.

    Raises:
        InputError: there is no such set, or its data are missing, incomplete or inconsistent.
    """
    if has_masks(name):
        return mask_source(split, data_dir, name=name)
    if name == "folder":
        return own_pictures(split, data_dir, rule)
    if rule.option:
        raise InputError(f"{rule.option}: --dataset={name} has its own splits; leave it out")
    if split == "test":
        raise InputError(f"--split=test: --dataset={name} has the splits train and val; take --split=val")
    if name == "digits":
        return resized(digits_source(split), image_size, interpolation)
    if name in ("cifar10", "cifar100"):
        return resized(cifar_source(name, split, data_dir), image_size, interpolation)
    if name == "fake":
        return fake_source(split, image_size)
    if name == "prepared":
        return prepared_source(split, data_dir)
    return tfds_source(name, split, data_dir)


def has_masks(name: str) -> bool:
    """Return whether a set is of pictures with masks: files, or "masks:NAME" of TFDS."""
    return name == "masks" or name.startswith("masks:")


def resized(source: ArraySource, image_size: int, interpolation: Interpolation = "bilinear") -> ArraySource:
    """Return the same set with square images of image_size (0: as they are), resized with antialiasing.

    Raises:
        InputError: the result would not fit in memory.
    """
    if image_size == 0 or source.images.shape[1:3] == (image_size, image_size):
        return source
    if (size := len(source.images) * image_size**2 * 3) > MAX_RESIZED_BYTES:
        raise InputError(
            f"--image_size={image_size}: {len(source.images)} resized images would take {size / 2**30:.0f} GiB of "
            f"memory; take at most {int((MAX_RESIZED_BYTES / len(source.images) / 3) ** 0.5)}"
        )
    images = np.empty((len(source.images), image_size, image_size, 3), np.uint8)
    for index, image in enumerate(source.images):
        images[index] = resize(image, image_size, image_size, interpolation)
    return replace(source, images=images)
