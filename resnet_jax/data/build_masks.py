"""Loaders of pictures with masks, from a config."""

from functools import partial
from typing import Literal

import numpy as np
from jax.sharding import Mesh

from resnet_jax.config.options import Config
from resnet_jax.data import pipeline
from resnet_jax.data.augment.joint import JointTransform
from resnet_jax.data.build import Data, build_finish, build_order, build_preprocessing, check_shared_batch
from resnet_jax.data.loader import Loader, run_key, streamed_train_loader, whole_masks_loader, worker_count
from resnet_jax.data.mask_checks import absent_classes, check_masks, content_digest
from resnet_jax.data.notices import print_notice
from resnet_jax.data.plain_images import plain_images
from resnet_jax.data.resolution import FixedSize
from resnet_jax.data.sources.masks import MaskSource, mask_source, open_masks_uncoded
from resnet_jax.data.sources.source import example_digest
from resnet_jax.errors import InputError


def build_mask_data(config: Config, mesh: Mesh) -> Data:
    """Open the sets of a config of masks, check every mask, and build their loaders.

    Raises:
        InputError: the data are missing or cannot be used, or do not go with the options.
    """
    train_set = open_masks(config, "train")
    # With the classes of the training masks, which are not read for them a second time.
    test_set = open_masks_uncoded("val", config.data_dir or None, config.dataset).with_coding(train_set.coding)
    facts = check_masks(train_set, worker_count(config.num_workers, len(train_set)))
    test_facts = check_masks(test_set, worker_count(config.num_workers, len(test_set)))
    for split, found in (("train", facts), ("val", test_facts)):
        if absent := absent_classes(found, train_set.class_names):
            print_notice(f"{config.data_dir or config.dataset}, {split}: no pixel is of class {', '.join(absent)}")
    crop = crop_of(config, facts.sizes)
    height, width = crop if crop != (0, 0) else facts.sizes[0].tolist()
    size = FixedSize(max(height, width))
    preprocessing = build_preprocessing(config, size(0))
    return Data(
        train=build_mask_train_loader(train_set, config, crop, mesh),
        test=build_mask_eval_loader(test_set, config, test_facts.sizes, mesh),
        num_train=len(train_set),
        num_test=len(test_set),
        train_examples=example_digest(train_set),
        test_examples=example_digest(test_set),
        class_names=train_set.class_names,
        image_size=size(0),
        train_size_at=size,
        plain_images=partial(plain_images, train_set, preprocessing, config.seed),
        train_labels=lambda: np.zeros(0, np.int32),
        train_shape=(height, width),
        coding=train_set.coding,
        mask_content=content_digest(facts, test_facts),
        class_pixels=(facts.pixels, facts.beside),
    )


def open_masks(config: Config, split: Literal["train", "val", "test"]) -> MaskSource:
    """Open a split of a config's masks."""
    return mask_source(split, config.data_dir or None, config.colors, config.void_value, config.dataset)


def crop_of(config: Config, sizes: np.ndarray) -> tuple[int, int]:
    """Return height and width of the training crops; (0, 0) of pictures that are used whole.

    Args:
        config: of the run.
        sizes: [N,2], heights and widths of the pictures.

    Raises:
        InputError: whole pictures that have several sizes.
    """
    if config.crop_size:
        return config.crop_size[0], config.crop_size[1]
    if config.image_size:
        return config.image_size, config.image_size
    if len(found := np.unique(sizes, axis=0)) > 1:
        raise InputError(
            f"--image_size=0 takes whole pictures, and these have {len(found)} sizes; name a crop: "
            "--crop_size=HEIGHT WIDTH"
        )
    return 0, 0


def build_mask_train_loader(source: MaskSource, config: Config, crop: tuple[int, int], mesh: Mesh) -> Loader:
    """Return the loader of a training set of masks.

    Raises:
        InputError: the devices cannot share the batch.
    """
    check_shared_batch(config.batch_size, mesh.devices.size)
    transform = JointTransform(
        crop=crop,
        scale=config.scale,
        rotate=config.rotate,
        flip=config.flip == "random",
        jitter=config.color_jitter,
        lighting=config.lighting,
    )
    host = partial(pipeline.train_batches, source, transform, build_order(source, config))
    finish = build_finish(config, len(source.class_names))
    streamed = partial(host, num_workers=worker_count(config.num_workers))
    return streamed_train_loader(streamed, run_key(config.seed, mesh), finish, mesh)


def build_mask_eval_loader(source: MaskSource, config: Config, sizes: np.ndarray, mesh: Mesh) -> Loader:
    """Return the loader of one pass over whole pictures, each batch of one size.

    Args:
        source: the pictures.
        config: of the run.
        sizes: [N,2], heights and widths.
        mesh: the devices.
    """
    return whole_masks_loader(
        source,
        sizes,
        build_preprocessing(config, 0),
        short=config.eval_resize,
        batch_size=config.eval_batch_size or config.batch_size,
        num_workers=config.num_workers,
        mesh=mesh,
    )
