"""The door of the data: from a config to sources, loaders and preprocessing.

Small sets that are arrays live whole on the devices, and a batch is then a list of indices; photographs are decoded and
cropped by worker processes. Both follow the same order of examples.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh

from resnet_jax.config.options import Config, resolve
from resnet_jax.data import pipeline, resident
from resnet_jax.data.augment import device
from resnet_jax.data.augment.finish import batch_keys, finish_batch
from resnet_jax.data.augment.opencv_resize import opencv
from resnet_jax.data.augment.policies import policy
from resnet_jax.data.augment.transform import TrainTransform
from resnet_jax.data.build_sizes import build_sizes, image_size_of
from resnet_jax.data.file_headers import check_file_headers
from resnet_jax.data.loader import (
    Loader,
    eval_loader,
    resident_train_loader,
    run_key,
    streamed_train_loader,
    worker_count,
)
from resnet_jax.data.notices import print_notice
from resnet_jax.data.order import Order
from resnet_jax.data.plain_images import plain_images
from resnet_jax.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, MEAN_STD, USED_WHOLE, Preprocessing
from resnet_jax.data.resolution import FixedSize, ProgressiveSize
from resnet_jax.data.sources.held_out import FolderRule
from resnet_jax.data.sources.load import load_source
from resnet_jax.data.sources.mask_coding import MaskCoding
from resnet_jax.data.sources.source import ArraySource, Source, example_digest, labels_of
from resnet_jax.errors import InputError
from resnet_jax.runtime.batch import Batch
from resnet_jax.runtime.sharding import replicated


@dataclass(frozen=True)
class Data:
    """The data of a training run.

    Attributes:
        train: loader of the training set.
        test: loader of the test set, one pass.
        num_train: examples in the training set.
        num_test: examples in the test set.
        train_examples: digest of the training examples.
        test_examples: digest of the test examples.
        class_names: K names, in the order of the labels.
        image_size: pixels a side of the images in evaluation.
        train_size_at: step -> the same in training.
        plain_images: count -> float32 [N,H,W,3], training images as in evaluation, for layers computed from images.
        train_labels: () -> int32 [N], of the training set; some sets are read from end to end for it.
        train_shape: height and width of training pictures with masks.
        coding: of masks; None where labels are of whole images.
        mask_content: digest of the pixels of each class and of the sizes of all masks; "" of other sets.
        class_pixels: of the training masks, the fields `pixels` and `beside` of `mask_checks.MaskFacts`.
    """

    train: Loader
    test: Loader
    num_train: int
    num_test: int
    train_examples: str
    test_examples: str
    class_names: tuple[str, ...]
    image_size: int
    train_size_at: FixedSize | ProgressiveSize
    plain_images: Callable[[int], np.ndarray]
    train_labels: Callable[[], np.ndarray]
    train_shape: tuple[int, int] = (0, 0)
    coding: MaskCoding | None = None
    mask_content: str = ""
    class_pixels: tuple[np.ndarray, np.ndarray] | None = None


def build_data(config: Config, mesh: Mesh) -> Data:
    """Open the sets of a config and build their loaders.

    Raises:
        InputError: the data are missing, a test image is damaged, or the data do not go with the options.
    """
    train_set = build_source(config, "train")
    test_set = build_source(config, "val")
    check_file_headers(test_set, 0)  # threads suffice to read headers
    if len(train_set.class_names) < 2:
        raise InputError(
            f"--data_dir={config.data_dir}: all images are of one class, {train_set.class_names[0]!r}, and there is "
            "nothing to learn; put those of each class into a folder of its own, ROOT/train/CLASS/"
        )
    train_size = image_size_of(train_set, config)
    image_size = config.eval_image_size or train_size
    size_at = build_sizes(config, train_size, len(train_set))
    return Data(
        train=build_train_loader(train_set, config, size_at, mesh),
        test=eval_loader(
            test_set,
            build_preprocessing(config, image_size),
            batch_size=config.eval_batch_size or config.batch_size,
            num_workers=config.num_workers,
            mesh=mesh,
            batches_per_call=config.steps_per_call,
        ),
        num_train=len(train_set),
        num_test=len(test_set),
        train_examples=example_digest(train_set),
        test_examples=example_digest(test_set),
        class_names=tuple(train_set.class_names),
        image_size=image_size,
        train_size_at=size_at,
        plain_images=partial(plain_images, train_set, build_preprocessing(config, train_size), config.seed),
        train_labels=partial(labels_of, train_set),
    )


def build_source(config: Config, split: Literal["train", "val"]) -> Source:
    """Open a split of a config's data set, images in memory at the size of training or evaluation (bilinear)."""
    size = config.image_size if split == "train" else config.eval_image_size or config.image_size
    return load_source(config.dataset, split, config.data_dir or None, size, folder_rule(config))


def folder_rule(config: Config) -> FolderRule:
    """Return how a config tells validation images from training images."""
    return FolderRule(config.val_fraction, config.folds, config.fold, config.links_out)


def build_preprocessing(config: Config, image_size: int, resize: int = 0) -> Preprocessing:
    """Return the preprocessing of a config's network in evaluation.

    Args:
        config: of the run.
        image_size: pixels a side of the crop.
        resize: shorter side before the crop; 0 is the config's.
    """
    mean, std = MEAN_STD.get(config.dataset, (IMAGENET_MEAN, IMAGENET_STD))
    crop = 1.0 if config.dataset in USED_WHOLE else resolve(config, "eval_crop")
    return Preprocessing(
        image_size=image_size,
        resize=resize or config.eval_resize or round(image_size / crop),
        mean=config.mean or mean,
        std=config.std or std,
        interpolation="bilinear" if config.dataset in MEAN_STD else resolve(config, "interpolation"),
    )


def build_train_loader(source: Source, config: Config, size_at: FixedSize | ProgressiveSize, mesh: Mesh) -> Loader:
    """Return the loader of a training set.

    Args:
        source: the examples.
        config: of the run.
        size_at: step -> pixels a side of its images.
        mesh: the devices.

    Raises:
        InputError: the devices cannot share the batch, there is no such policy, or a package that the interpolation
            needs is not installed.
    """
    check_shared_batch(config.batch_size, mesh.devices.size)
    if config.cutout >= size_at(0):
        raise InputError(f"--cutout={config.cutout} leaves nothing of images of {size_at(0)} pixels")
    order = build_order(source, config)
    finish = build_finish(config, len(source.class_names))
    key = run_key(config.seed, mesh)
    if isinstance(source, ArraySource) and not needs_host(source, config, size_at):
        held = {"pool": resident.put(source, replicated(mesh)), "key": key}

        def prepare(batch: Batch, step: Any) -> Batch:
            key = jax.random.wrap_key_data(batch["key"])
            batch = resident.gather(batch["pool"], batch["request"])
            keys = batch_keys(key, batch)
            if config.crop_padding:
                batch = device.pad_and_crop(batch, keys, config.crop_padding, config.padding_mode)
            if config.flip == "random":
                batch = device.random_flip(batch, keys)
            return finish(batch, key, step)

        return resident_train_loader(held, order, prepare, mesh)

    interpolation = config.train_interpolation or resolve(config, "interpolation")
    if interpolation == "fast":
        opencv()  # a worker would find it missing only after the run has begun
    transform = TrainTransform(
        crop="pad" if isinstance(source, ArraySource) else config.crop,
        scale=config.crop_scale,
        ratio=config.crop_ratio,
        padding=config.crop_padding,
        padding_mode=config.padding_mode,
        interpolation=interpolation,
        flip=config.flip == "random",
        jitter=config.color_jitter,
        lighting=config.lighting,
        augment=policy(config.auto_augment) if config.auto_augment else None,
    )
    host = partial(pipeline.train_batches, source, transform, order, size_at=size_at)
    return streamed_train_loader(partial(host, num_workers=worker_count(config.num_workers)), key, finish, mesh)


def check_shared_batch(batch_size: int, devices: int) -> None:
    """Refuse a batch that devices cannot share evenly.

    Raises:
        InputError: they cannot; names the nearest size that they can share.
    """
    if batch_size % devices:
        nearest = max(devices, batch_size // devices * devices)
        raise InputError(f"--batch_size={batch_size} cannot be shared by {devices} devices; take {nearest}")


def build_order(source: Source, config: Config) -> Order:
    """Return the order of a training set; say so where an image comes several times in a batch."""
    n, size = len(source), config.batch_size
    if n < size:
        print_notice(
            f"{n:,} training images in batches of {size:,}: each comes {size / n:.3g} times in a batch, on average"
        )
    labels = labels_of(source) if config.sampling else None
    return Order(seed=config.seed, n=n, batch_size=size, repeats=config.repeats, labels=labels)


def needs_host(source: ArraySource, config: Config, size_at: FixedSize | ProgressiveSize) -> bool:
    """Return whether a set of small images needs augmentations that run on one image at a time, on the host."""
    resized = size_at != FixedSize(source.images.shape[1])
    return resized or bool(config.auto_augment or config.color_jitter or config.lighting)


def build_finish(config: Config, num_classes: int) -> Callable[[Batch, jax.Array, Any], Batch]:
    """Return what finishes a training batch after crops and operations on single images."""
    return partial(
        finish_batch,
        preprocessing=build_preprocessing(config, 0),
        num_classes=num_classes,
        alternating=config.flip == "alternating",
        erase=config.erase,
        erase_fill=config.erase_fill,
        cutout_size=config.cutout,
        mixup=config.mixup,
        cutmix=config.cutmix,
        mix_probability=config.mix_probability,
    )
