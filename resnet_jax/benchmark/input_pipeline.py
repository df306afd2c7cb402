"""Throughput of the input pipeline: decode, random-resized crop, batch; on a core and with worker processes."""

import io
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from resnet_jax.benchmark.tf_data import fused_batches
from resnet_jax.data.augment.host import crop_box
from resnet_jax.data.augment.opencv_resize import opencv
from resnet_jax.data.augment.transform import TrainTransform
from resnet_jax.data.order import Order, example_rng
from resnet_jax.data.pipeline import train_batches
from resnet_jax.data.prepared.format import MANIFEST
from resnet_jax.data.resolution import FixedSize
from resnet_jax.data.sources.image_files import image_extensions
from resnet_jax.data.sources.prepared import prepared_source
from resnet_jax.data.sources.source import Example
from resnet_jax.errors import InputError
from resnet_jax.workdir.folder import versions

# Two ways of resizing: Pillow's, which is the default, and OpenCV's.
OURS = {"resnet_jax": TrainTransform(flip=False), "resnet_jax_fast": TrainTransform(flip=False, interpolation="fast")}
MEASURED = ("pillow", "simplejpeg", "opencv-python-headless", "tensorflow-cpu", "tensorflow", "numpy", "grain")
NOT_INSTALLED = "not installed"
NOT_JPEG = "reads JPEGs alone"
MAX_IMAGES = 256  # in memory: ImageNet as a whole would be 140 GB

BatchMaker = Callable[[int], np.ndarray]  # epoch -> the batch of all images, [N,size,size,3]


@dataclass(frozen=True)
class MemorySource:
    """A source of encoded images in memory, of one class, so that no disk is measured.

    Attributes:
        files: the images.
        intact: whether the files are known to be whole, as in a prepared set; no row below a crop is then decoded.
        class_names: the name of the one class.
    """

    files: tuple[bytes, ...]
    intact: bool = False
    class_names: tuple[str, ...] = ("any",)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Example:
        return Example(self.files[index], 0, f"image {index}")


def measure_input(data_dir: str, num_workers: int, rounds: int = 10, image_size: int = 224) -> dict[str, Any]:
    """Measure the pipeline on images below a folder, or of a prepared set, beside Pillow and tf.data.

    On a core, all contenders make the same crops in turn, and CPU seconds are counted, so that other programs disturb
    them little and equally. With workers, wall time counts, and the machine should have nothing else to do.

    Args:
        data_dir: a folder with images anywhere in it, or what experiments.prepare wrote.
        num_workers: worker processes; fewer than 2 leave this part out.
        rounds: how often all images are decoded.
        image_size: of the crops, pixels.

    Returns:
        {"images_per_cpu_second": of every contender, "times_pillow", "times_tf_data": medians of the rounds' ratios,
        "workers": images a wall second and the share of ideal scaling, and what was measured on}; of a contender that
        cannot take part, why, instead of numbers.

    Raises:
        InputError: there are no images, or one is unreadable.
    """
    source = encoded_images(data_dir)
    files = source.files
    contenders: dict[str, BatchMaker | str] = {
        **{name: ours(source, transform, image_size) for name, transform in OURS.items()},
        "pillow": partial(pillow_batch, files, image_size),
        "tf_data": tf_data(files, rounds + 1, image_size),
    }
    absent = {name: why for name, why in contenders.items() if isinstance(why, str)}
    seconds = cpu_seconds({name: make for name, make in contenders.items() if not isinstance(make, str)}, rounds)
    rates = {name: round(len(files) / median(values), 1) for name, values in seconds.items()}
    result: dict[str, Any] = {
        "mode": "input",
        "images": len(files),
        "mean_kilobytes": round(sum(map(len, files)) / len(files) / 1e3, 1),
        "image_size": image_size,
        "rounds": rounds,
        "images_per_cpu_second": rates | absent,
    }
    for other in ("pillow", "tf_data"):
        result[f"times_{other}"] = {
            name: absent.get(name) or absent.get(other) or ratio(seconds[other], seconds[name]) for name in OURS
        }
    if num_workers > 1:
        result["workers"] = {
            name: scaling(source, OURS[name], num_workers, rounds, image_size) for name in OURS if name in seconds
        }
    return result | {"cpu_count": os.cpu_count(), "versions": versions(MEASURED)}


def ratio(theirs: list[float], ours: list[float]) -> float:
    """Return how many times as fast we are, the median over the rounds."""
    return round(median(np.divide(theirs, ours)), 3)


def ours(source: MemorySource, transform: TrainTransform, size: int) -> BatchMaker | str:
    """Return the function of our pipeline's batches, or why it cannot take part."""
    if transform.interpolation == "fast":
        try:
            opencv()
        except InputError:
            return NOT_INSTALLED
    return partial(our_batch, source, transform, size)


def tf_data(files: tuple[bytes, ...], epochs: int, size: int) -> BatchMaker | str:
    """Return the function of tf.data's batches, or why it cannot take part."""
    if not all(data.startswith(b"\xff\xd8") for data in files):
        return NOT_JPEG
    if find_spec("tensorflow") is None:
        return NOT_INSTALLED
    return fused_batches(files, boxes(files, epochs), size) or NOT_INSTALLED


def encoded_images(data_dir: str) -> MemorySource:
    """Read the training images of a prepared set, or the images below a folder: at most MAX_IMAGES, evenly spaced.

    Raises:
        InputError: there are none.
    """
    root = Path(data_dir).expanduser()
    if (root / MANIFEST).is_file():
        source = prepared_source("train", data_dir)
        return MemorySource(tuple(bytes(source[index].image) for index in spaced(len(source))), source.intact)
    extensions = image_extensions()
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in extensions and p.is_file())
    if not paths:
        raise InputError(f"--data_dir={data_dir} holds no images; give a folder with some in it")
    return MemorySource(tuple(paths[index].read_bytes() for index in spaced(len(paths))))


def spaced(length: int) -> list[int]:
    """Return up to MAX_IMAGES indices, evenly spaced: folders are sorted by class."""
    count = min(length, MAX_IMAGES)
    return [position * length // count for position in range(count)]


def boxes(files: tuple[bytes, ...], epochs: int) -> np.ndarray:
    """Return top, left, height and width of every crop that the contenders make: int32 [epochs,N,4]."""
    sizes = [Image.open(io.BytesIO(data)).size for data in files]
    return np.array(
        [
            [crop_of(height, width, epoch, index) for index, (width, height) in enumerate(sizes)]
            for epoch in range(epochs)
        ],
        np.int32,
    )


def crop_of(height: int, width: int, epoch: int, index: int) -> tuple[int, int, int, int]:
    """Return the crop that every contender makes of one image."""
    settings = OURS["resnet_jax"]
    return crop_box(height, width, example_rng(0, epoch, index), settings.scale, settings.ratio)


def our_batch(source: MemorySource, transform: TrainTransform, size: int, epoch: int) -> np.ndarray:
    """Return the batch as the pipeline makes it: uint8 [N,size,size,3]."""
    made = [
        transform.from_file(data, f"image {index}", example_rng(0, epoch, index), size, source.intact)
        for index, data in enumerate(source.files)
    ]
    return np.stack(made)


def pillow_batch(files: tuple[bytes, ...], size: int, epoch: int) -> np.ndarray:
    """Return the batch as torchvision's transforms make it of Pillow images: uint8 [N,size,size,3]."""
    made = []
    for index, data in enumerate(files):
        image = Image.open(io.BytesIO(data)).convert("RGB")
        top, left, height, width = crop_of(image.height, image.width, epoch, index)
        part = image.crop((left, top, left + width, top + height))
        made.append(np.array(part.resize((size, size), Image.Resampling.BILINEAR)))
    return np.stack(made)


def cpu_seconds(contenders: dict[str, BatchMaker], rounds: int) -> dict[str, list[float]]:
    """Measure CPU seconds of every round, all threads of the process together; the contenders take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for epoch in range(rounds + 1):
        for name, make in contenders.items():
            began = time.process_time()
            make(epoch)
            if epoch:  # the first round fills caches
                seconds[name].append(time.process_time() - began)
    return seconds


def scaling(
    source: MemorySource, transform: TrainTransform, num_workers: int, rounds: int, size: int
) -> dict[str, float]:
    """Measure images a second of wall time with one and with `num_workers` workers, and the share of ideal scaling."""
    one, many = (wall_rate(source, transform, workers, rounds, size) for workers in (1, num_workers))
    return {
        "images_per_second_with_1": round(one, 1),
        f"images_per_second_with_{num_workers}": round(many, 1),
        "share_of_ideal": round(many / one / num_workers, 3),
    }


def wall_rate(source: MemorySource, transform: TrainTransform, workers: int, rounds: int, size: int) -> float:
    """Measure images a second of wall time, once all workers have begun and their buffers are full."""
    batch_size = min(64, len(source))
    begun, measured = 4 * workers, rounds * workers
    batches = train_batches(
        source,
        transform,
        Order(seed=0, n=len(source), batch_size=batch_size),
        start=0,
        stop=begun + measured + 4 * workers,
        num_workers=workers,
        size_at=FixedSize(size),
    )
    for _ in range(begun):
        next(batches)
    began = time.perf_counter()
    for _ in range(measured):
        next(batches)
    seconds = time.perf_counter() - began
    batches.close()
    return measured * batch_size / seconds
