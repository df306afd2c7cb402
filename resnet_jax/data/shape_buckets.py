"""Whole images of many shapes in batches of one shape each, every image exactly once.

A fully convolutional network accepts images of any aspect ratio. Every shape costs a compilation, so an image is
stretched to the nearest of a few aspect ratios: on one image of each of ImageNet's classes by 0.1 % in the median and
by less than 5.1 % for 95 of 100, in 16 shapes.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from resnet_jax.data.augment.resize import Interpolation, resize, resize_mask
from resnet_jax.data.decode import decoded_size
from resnet_jax.data.order import local_slice
from resnet_jax.data.prefetch import read_ahead, read_pieces
from resnet_jax.data.sources.source import ArraySource, Source, pixels_of
from resnet_jax.runtime.batch import Batch

Shape = tuple[int, int]  # height and width

# Longer side over shorter side. The ratios of cameras and screens are exact; longer images are squeezed to 4 to 1.
ASPECTS = (1.0, 9 / 8, 5 / 4, 4 / 3, 3 / 2, 5 / 3, 2.0, 5 / 2, 3.0, 4.0)

HEADERS = 256  # of image files, read as one piece of work


def whole_shape(height: int, width: int, short: int) -> Shape:
    """Return the size to resize an image to: shorter side `short`, aspect ratio the nearest of `ASPECTS`."""
    ratio = max(height, width) / min(height, width)
    long = round(short * min(ASPECTS, key=lambda aspect: abs(math.log(aspect / ratio))))
    return (short, long) if height <= width else (long, short)


@dataclass(frozen=True)
class ShapedBatch:
    """Plan of one global batch: `index` int32 [n] of the examples, resized to `shape` and padded to `rows`."""

    shape: Shape
    index: np.ndarray
    rows: int


def image_sizes(source: Source, num_workers: int) -> np.ndarray:
    """Return height and width of every image, from the headers of the files: int32 [N,2].

    Raises:
        InputError: an image is unreadable, or a worker process died.
    """
    if isinstance(source, ArraySource):
        return np.tile(np.array(source.images.shape[1:3], np.int32), (len(source), 1))
    return np.concatenate([part["size"] for part in read_pieces(_sizes, source, HEADERS, num_workers)])


def shaped_batches(
    sizes: np.ndarray, shape_of: Callable[[int, int], Shape], rows_of: Callable[[Shape], int], multiple: int = 1
) -> tuple[ShapedBatch, ...]:
    """Return the batches of one pass over the images, shape by shape: a function of the sizes alone.

    All batches of a shape have the same number of rows, so that each shape is compiled for once.

    Args:
        sizes: [N,2], heights and widths.
        shape_of: height and width -> those of the resized image, such as `whole_shape`.
        rows_of: shape -> number of images of a full batch.
        multiple: divisor of every number of rows: the number of devices that share a batch.
    """
    groups: dict[Shape, list[int]] = {}
    for index, (height, width) in enumerate(sizes.tolist()):
        groups.setdefault(shape_of(height, width), []).append(index)
    batches = []
    for shape, members in sorted(groups.items()):
        rows = -(-min(max(1, rows_of(shape)), len(members)) // multiple) * multiple
        cuts = range(0, len(members), rows)
        batches += [ShapedBatch(shape, np.array(members[cut : cut + rows], np.int32), rows) for cut in cuts]
    return tuple(batches)


def whole_images(
    source: Source,
    batches: tuple[ShapedBatch, ...],
    *,
    interpolation: Interpolation,
    num_workers: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """Yield this process's rows of the batches.

    Args:
        source: the examples.
        batches: of `shaped_batches`, the same ones on every process.
        interpolation: of the resizing.
        num_workers: processes that decode; 0 for threads of this one.
        process_index: number of this process.
        process_count: number of processes that share every batch.

    Returns:
        dicts of {"image" uint8 [b,H,W,3], "label" int32 [b] or of masks uint8 [b,H,W], "mask" float32 [b], 0 for
        padding, "index" int32 [b]}.

    Raises:
        InputError: the processes cannot share a batch, an image is unreadable, or a worker process died.
    """
    for rows in {batch.rows for batch in batches}:
        local_slice(rows, process_index, process_count)
    return read_ahead(_WholeSteps(source, batches, interpolation, process_index, process_count), num_workers)


def _sizes(source: Source, numbers: range) -> dict[str, Any]:
    """Return the sizes of some of the images."""
    sizes = []
    for image, _, name in map(source.__getitem__, numbers):
        sizes.append(image.shape[:2] if isinstance(image, np.ndarray) else decoded_size(image, name))
    return {"size": np.array(sizes, np.int32)}


@dataclass(frozen=True)
class _WholeSteps:
    """The batches of one process, by step."""

    source: Source
    batches: tuple[ShapedBatch, ...]
    interpolation: Interpolation
    process_index: int
    process_count: int

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        planned = self.batches[index]
        local = local_slice(planned.rows, self.process_index, self.process_count)
        mine = planned.index[local]
        count = local.stop - local.start
        examples = {row: self.source[index] for row, index in enumerate(mine.tolist())}
        arrays = {
            "image": np.zeros((count, *planned.shape, 3), np.uint8),
            "mask": np.zeros(count, np.float32),
            "index": np.zeros(count, np.int32),
        }
        for row, example in examples.items():
            arrays["image"][row] = resize(pixels_of(example), *planned.shape, self.interpolation)
            arrays["mask"][row], arrays["index"][row] = 1, mine[row]
        # Where all rows are padding, the first example still tells whether labels are masks.
        labels = [example.label for example in examples.values()] or [self.source[int(planned.index[0])].label]
        arrays["label"] = _padded_labels(labels, count, planned.shape)
        return arrays


def _padded_labels(labels: list[Any], count: int, shape: Shape) -> np.ndarray:
    """Return the labels of `count` rows, zeros behind the last: int32 [count], or of masks [count,H,W]."""
    if isinstance(labels[0], np.ndarray):
        labels = [resize_mask(label, *shape) for label in labels]
    zeros = np.zeros_like(np.asarray(labels[0]))
    return np.stack([*labels, *[zeros] * (count - len(labels))]).astype(np.int32)
