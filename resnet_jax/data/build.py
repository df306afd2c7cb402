"""From a data source to batches on the devices: which way a set is fed, and what happens to its images on it.

Small sets that are arrays live whole on the device, and a batch is only a list of indices; photographs are decoded and
cropped by worker processes. Both ways follow the same order of examples.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from resnet_jax.config.options import Config, progressive_sizes
from resnet_jax.data import pipeline, resident
from resnet_jax.data.augment import device, host
from resnet_jax.data.augment.erasing import cutout, random_erasing
from resnet_jax.data.augment.mixing import mix
from resnet_jax.data.augment.opencv_resize import opencv
from resnet_jax.data.augment.policies import policy
from resnet_jax.data.augment.transform import TrainTransform
from resnet_jax.data.decode import decode_image
from resnet_jax.data.loader import Loader, processes, worker_count
from resnet_jax.data.order import check_train, epoch_order
from resnet_jax.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, MEAN_STD, Preprocessing
from resnet_jax.data.resolution import FixedSize, ProgressiveSize
from resnet_jax.data.sources.load import ArraySource, Source
from resnet_jax.errors import InputError
from resnet_jax.runtime.batch import Batch
from resnet_jax.runtime.sharding import replicated, sharded


def build_train_loader(source: Source, config: Config, size_at: FixedSize | ProgressiveSize, mesh: Mesh) -> Loader:
    """The loader of a training run.

    Args:
        source: the examples.
        config: the run's.
        size_at: step -> pixels a side of its images.
        mesh: the devices.

    Raises:
        InputError: the devices cannot share the batch, the set is smaller than one, there is no such policy, or what
            the interpolation needs is not installed.
    """
    devices = mesh.devices.size
    if config.batch_size % devices:
        nearest = max(devices, config.batch_size // devices * devices)
        raise InputError(f"--batch_size={config.batch_size} cannot be shared by {devices} devices; take {nearest}")
    check_train(len(source), config.batch_size, config.seed, config.repeats)
    if config.cutout >= size_at(0):
        raise InputError(f"--cutout={config.cutout} leaves nothing of images of {size_at(0)} pixels")
    order = {"batch_size": config.batch_size, "seed": config.seed, "repeats": config.repeats, **processes()}
    finish = partial(finish_batch, config=config, num_classes=len(source.class_names))
    if isinstance(source, ArraySource) and not host_work(source, config, size_at):
        pool = resident.put(source, replicated(mesh))

        def prepare(batch: Batch, step: Any) -> Batch:
            batch = resident.gather(batch["pool"], batch["request"])
            keys = batch_keys(config, batch)
            if config.crop_padding:
                batch = device.pad_and_crop(batch, keys, config.crop_padding, config.padding_mode)
            if config.flip == "random":
                batch = device.random_flip(batch, keys)
            return finish(batch, step)

        def requests(start: int, stop: int) -> Iterator[Batch]:
            return resident.train_requests(len(source), **order, start=start, stop=stop)

        def batches(start: int, stop: int) -> Iterator[Batch]:
            for request in pipeline.to_device(requests(start, stop), sharded(mesh)):
                yield {"pool": pool, "request": request}

        return Loader(batches, prepare, requests, {"pool": pool})

    interpolation = config.train_interpolation or config.interpolation
    if interpolation == "fast":
        opencv()  # a worker would miss it only after the run has begun
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
    workers = worker_count(config.num_workers)

    def streamed(start: int, stop: int) -> Iterator[Batch]:
        host = pipeline.train_batches(
            source, transform, **order, size_at=size_at, start=start, stop=stop, num_workers=workers
        )
        return pipeline.to_device(host, sharded(mesh))

    return Loader(streamed, finish)


def host_work(source: ArraySource, config: Config, size_at: FixedSize | ProgressiveSize) -> bool:
    """Whether a set of small images needs what is done to one image at a time, on the host."""
    resized = size_at != FixedSize(source.images.shape[1])
    return resized or bool(config.auto_augment or config.color_jitter or config.lighting)


def batch_keys(config: Config, batch: Batch) -> jax.Array:
    """The keys [B] of a training batch's examples."""
    return device.example_keys(config.seed, batch["epoch"], batch["index"], batch["view"])


# Folded into the run's key before the step is, so that mixing draws other numbers than the network's dropout.
MIX = 0x6D6978


def finish_batch(batch: Batch, step: Any, *, config: Config, num_classes: int) -> Batch:
    """What is done to whole batches after crops and operations: the end of every training loader.

    Alternating flips, normalization, then rectangles erased (zero is the mean by now), then mixing of examples.
    """
    keys = batch_keys(config, batch)
    if config.flip == "alternating":
        batch = device.alternating_flip(batch, config.seed)
    batch = normalizer(config)(batch)
    if config.erase:
        batch = random_erasing(batch, keys, config.erase, fill=config.erase_fill)
    if config.cutout:
        batch = cutout(batch, keys, config.cutout)
    if config.mixup or config.cutmix:
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(config.seed), MIX), step)
        batch = mix(
            batch,
            key,
            num_classes=num_classes,
            mixup_alpha=config.mixup,
            cutmix_alpha=config.cutmix,
            probability=config.mix_probability,
        )
    return batch


def build_eval_loader(source: Source, config: Config, image_size: int, mesh: Mesh) -> Loader:
    """The loader of an evaluation: every example once, the last batch padded; any eval_batch_size on any devices."""
    devices = mesh.devices.size
    batch_size = -(-(config.eval_batch_size or config.batch_size) // devices) * devices
    normalize = normalizer(config)
    if isinstance(source, ArraySource) and source.images.shape[1] == image_size:
        pool = resident.put(source, replicated(mesh))

        def requests() -> Iterator[Batch]:
            rows = resident.eval_requests(len(source), batch_size=batch_size, **processes())
            for request in pipeline.to_device(rows, sharded(mesh)):
                yield {"pool": pool, "request": request}

        return Loader(requests, lambda batch: normalize(resident.gather(batch["pool"], batch["request"])))

    transform = eval_transform(config, image_size)
    workers = worker_count(config.num_workers)

    def streamed() -> Iterator[Batch]:
        host = pipeline.eval_batches(source, transform, batch_size=batch_size, num_workers=workers, **processes())
        return pipeline.to_device(host, sharded(mesh))

    return Loader(streamed, normalize)


def eval_transform(config: Config, image_size: int) -> Callable:
    """The center crop that evaluation and prediction see: uint8 [H,W,3] -> [image_size,image_size,3]."""
    seen = preprocessing(config, image_size)
    return partial(
        host.resize_and_center_crop,
        size=seen.image_size,
        resize=seen.resize,
        interpolation=seen.interpolation,
    )


def normalizer(config: Config) -> Callable[[Batch], Batch]:
    """uint8 images -> float32 with the mean and deviation that the network was trained with."""
    seen = preprocessing(config, 0)
    return partial(device.normalize, mean=seen.mean, std=seen.std)


def preprocessing(config: Config, image_size: int) -> Preprocessing:
    """What a config's network expects to see in evaluation."""
    mean, std = MEAN_STD.get(config.dataset, (IMAGENET_MEAN, IMAGENET_STD))
    crop = 1.0 if config.dataset in MEAN_STD else config.eval_crop  # small images are seen whole
    return Preprocessing(
        image_size=image_size,
        resize=config.eval_resize or round(image_size / crop),
        mean=config.mean or mean,
        std=config.std or std,
        interpolation=config.interpolation,
    )


def build_sizes(config: Config, image_size: int, num_train: int) -> FixedSize | ProgressiveSize:
    """Pixels a side of every training step's images, in a training on so many examples."""
    sizes = progressive_sizes(config.progressive)
    if sizes is None:
        return FixedSize(image_size)
    steps_per_epoch = num_train / config.batch_size
    # Not from a whole number of steps: half-way between two sizes a thousandth of an epoch would decide.
    epochs = config.steps / steps_per_epoch if config.steps else config.epochs
    start, stop = (round(fraction * epochs, 6) for fraction in config.progressive_ramp)
    return ProgressiveSize(*sizes, start=start, stop=stop, steps_per_epoch=steps_per_epoch)


def plain_images(source: Source, config: Config, image_size: int, count: int) -> np.ndarray:
    """`count` images of a source, or all it has, as evaluation sees them: float32 [N,size,size,3].

    The first ones of a set that is an array, whose order is random, and of any other the first of a random order:
    folders are sorted by class.
    """
    transform = eval_transform(config, image_size)
    order = range(len(source)) if isinstance(source, ArraySource) else epoch_order(config.seed, 0, len(source))
    images = []
    for index in order[:count]:
        image, _, name = source[int(index)]
        image = image if isinstance(image, np.ndarray) else decode_image(image, name)
        images.append(image if image.shape[:2] == (image_size, image_size) else transform(image))
    return np.asarray(normalizer(config)({"image": np.stack(images)})["image"])


def image_size_of(source: Source, config: Config) -> int:
    """Pixels a side of what the network sees.

    Raises:
        InputError: photographs, which come in all sizes, and no --image_size.
    """
    if config.image_size:
        return config.image_size
    if isinstance(source, ArraySource):
        return source.images.shape[1]
    raise InputError(f"--image_size=0: the images of --dataset={config.dataset} have no common size; name one")
