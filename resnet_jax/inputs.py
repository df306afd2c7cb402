"""From a data source to batches on the devices: which way a set is fed, and what happens to its images on it.

Small sets that are arrays live whole on the device, and a batch is only a list of indices; photographs are decoded and
cropped by worker processes. Both ways follow the same order of examples.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
from jax.sharding import Mesh

from resnet_jax.config import Config
from resnet_jax.data import device_augment, host_augment, pipeline, resident
from resnet_jax.data.order import check_train
from resnet_jax.data.sizes import FixedSize
from resnet_jax.data.sources import ArraySource, Source
from resnet_jax.errors import InputError
from resnet_jax.training.state import replicated, sharded
from resnet_jax.weights.names import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

Batch = dict[str, Any]

MEAN_STD = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "digits": ((0.3053,) * 3, (0.3760,) * 3),
}


@dataclass(frozen=True)
class Feed:
    """Batches and what the device does to each inside the step.

    Attributes:
        batches: from `(start, stop)`, in steps, to the batches of training; from `()` to one pass of evaluation.
        prepare: pure; the fed batch -> {"image" float32 [B,H,W,3] normalised, "label", "mask", …}.
    """

    batches: Callable[..., Iterator[Batch]]
    prepare: Callable[[Batch], Batch]


def train_feed(source: Source, config: Config, image_size: int, mesh: Mesh) -> Feed:
    """The feed of a training run.

    Raises:
        InputError: the devices cannot share the batch, or the set is smaller than one.
    """
    devices = mesh.devices.size
    if config.batch_size % devices:
        nearest = max(devices, config.batch_size // devices * devices)
        raise InputError(f"--batch_size={config.batch_size} cannot be shared by {devices} devices; take {nearest}")
    check_train(len(source), config.batch_size, config.seed)
    order = {"batch_size": config.batch_size, "seed": config.seed, **processes()}
    normalize = normalizer(config)
    if isinstance(source, ArraySource):
        pool = resident.put(source, replicated(mesh))

        def prepare(batch: Batch) -> Batch:
            batch = resident.gather(batch["pool"], batch["request"])
            keys = device_augment.example_keys(config.seed, batch["epoch"], batch["index"], batch["view"])
            if config.crop_padding:
                batch = device_augment.pad_and_crop(batch, keys, config.crop_padding)
            if config.flip:
                batch = device_augment.random_flip(batch, keys)
            return normalize(batch)

        def requests(start: int, stop: int) -> Iterator[Batch]:
            rows = resident.train_requests(len(source), **order, start=start, stop=stop)
            for request in pipeline.to_device(rows, sharded(mesh)):
                yield {"pool": pool, "request": request}

        return Feed(requests, prepare)

    crop = {
        "random_resized": host_augment.random_resized_crop,
        "scale_jitter": host_augment.scale_jitter_crop,
    }[config.crop]
    transform = partial(crop_and_flip, crop=partial(crop, interpolation=config.interpolation), flip=config.flip)
    workers = worker_count(config.num_workers)

    def streamed(start: int, stop: int) -> Iterator[Batch]:
        options = {"num_workers": workers, "size_at": FixedSize(image_size)}
        host = pipeline.train_batches(source, transform, **order, **options, start=start, stop=stop)
        return pipeline.to_device(host, sharded(mesh))

    return Feed(streamed, normalize)


def eval_feed(source: Source, config: Config, image_size: int, mesh: Mesh) -> Feed:
    """The feed of an evaluation: every example once, the last batch padded; any eval_batch_size on any devices."""
    devices = mesh.devices.size
    batch_size = -(-(config.eval_batch_size or config.batch_size) // devices) * devices
    normalize = normalizer(config)
    if isinstance(source, ArraySource):
        pool = resident.put(source, replicated(mesh))

        def requests() -> Iterator[Batch]:
            rows = resident.eval_requests(len(source), batch_size=batch_size, **processes())
            for request in pipeline.to_device(rows, sharded(mesh)):
                yield {"pool": pool, "request": request}

        return Feed(requests, lambda batch: normalize(resident.gather(batch["pool"], batch["request"])))

    transform = eval_transform(config, image_size)
    workers = worker_count(config.num_workers)

    def streamed() -> Iterator[Batch]:
        host = pipeline.eval_batches(source, transform, batch_size=batch_size, num_workers=workers, **processes())
        return pipeline.to_device(host, sharded(mesh))

    return Feed(streamed, normalize)


def crop_and_flip(image: Any, rng: Any, size: int, *, crop: Callable, flip: bool) -> Any:
    """A training photograph, uint8 [H,W,3] -> [size,size,3]."""
    image = crop(image, size=size, rng=rng)
    return host_augment.random_flip(image, rng) if flip else image


def eval_transform(config: Config, image_size: int) -> Callable:
    """The centre crop that evaluation and prediction see: uint8 [H,W,3] -> [image_size,image_size,3]."""
    seen = preprocessing(config, image_size)
    return partial(
        host_augment.resize_and_center_crop,
        size=seen.image_size,
        resize=seen.resize,
        interpolation=seen.interpolation,
    )


def normalizer(config: Config) -> Callable[[Batch], Batch]:
    """uint8 images -> float32 with the mean and deviation that the network was trained with."""
    seen = preprocessing(config, 0)
    return partial(device_augment.normalize, mean=seen.mean, std=seen.std)


def preprocessing(config: Config, image_size: int) -> Preprocessing:
    """What a config's network expects to see in evaluation."""
    mean, std = MEAN_STD.get(config.dataset, (IMAGENET_MEAN, IMAGENET_STD))
    return Preprocessing(
        image_size=image_size,
        resize=config.eval_resize or round(image_size / 0.875),
        mean=config.mean or mean,
        std=config.std or std,
        interpolation=config.interpolation,
    )


def processes() -> dict[str, int]:
    """Which share of every batch this process loads."""
    return {"process_index": jax.process_index(), "process_count": jax.process_count()}


def worker_count(num_workers: int) -> int:
    """Decoding processes: as asked for, or one for every core but one, at most 16."""
    return num_workers if num_workers >= 0 else max(1, min(16, (os.cpu_count() or 1) - 1))
