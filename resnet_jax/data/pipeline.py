"""The host's pipeline: from a source to this process's rows of every batch, decoded ahead of the step.

The unit of work is a piece of a batch, a function of (seed, step, rows), so the stream is the same for any number of
workers. In pieces, because a worker holds a few of them in shared memory: whole batches of 4,096 images of 224 px were
3 GB a worker.
"""

import collections
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Sharding

from resnet_jax.data.decode import UnreadableImage
from resnet_jax.data.order import Order, eval_rows, example_rng, local_slice
from resnet_jax.data.prefetch import read_ahead
from resnet_jax.data.sources.source import Source, pixels_of
from resnet_jax.errors import InputError
from resnet_jax.runtime.batch import Batch

HostTransform = Callable[..., Any]

# Most unreadable images in a batch, for each view: 20, or a quarter of a large batch. Nor may they be those of more
# than half of a process's rows, if two or more. More is a damaged data set, not a few damaged files.
MAX_UNREADABLE = 20

PIECE = 64  # rows: 10 MB of images of 224 px


def train_batches(
    source: Source,
    transform: HostTransform,
    order: Order,
    *,
    start: int,
    stop: int,
    num_workers: int,
    size_at: Callable[[int], int] | None = None,
    process_index: int = 0,
    process_count: int = 1,
) -> Generator[Batch, None, None]:
    """Yield this process's rows of the batches of steps start to stop - 1.

    An unreadable image is replaced by the next readable one in the epoch's order.

    Args:
        source: the examples.
        transform: (image uint8 [H,W,3], rng, size) -> uint8 [size,size,3]; must pickle. Where it has a method
            `from_file` of (data, name, rng, size, intact), an image file goes there, not decoded. Of a source of masks:
            (image, mask, rng, size) -> both, of one size.
        order: of the examples; its seed is that of the augmentation too.
        start: first step.
        stop: the step after the last.
        num_workers: processes that decode; 0 for threads of this one.
        size_at: step -> the size of that batch's images, as `resolution` gives; must pickle. None passes None to
            the transform.
        process_index: number of this process.
        process_count: number of processes that share every batch.

    Returns:
        dicts of {"image" uint8 [b,size,size,3], "label" int32 [b] or of masks [b,H,W], "mask" float32 [b] of ones,
        "epoch" int32 [b], "index" int32 [b], "view" int32 [b], "skipped": the messages of the unreadable images}.

    Raises:
        InputError: the processes cannot share the batch, too many images are unreadable, or a worker process died.
    """
    local = local_slice(order.batch_size, process_index, process_count)
    pieces = pieces_of(local)
    elements = _TrainPieces(source, transform, order, start, stop, size_at, pieces)
    return _readable_batches(read_ahead(elements, num_workers, len(pieces)), order)


def eval_batches(
    source: Source,
    transform: Callable[[np.ndarray], np.ndarray],
    *,
    batch_size: int,
    num_workers: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """Yield this process's rows of one pass over the source in its own order, every example exactly once.

    The last batch is padded with zeros and masked, so that shapes never change.

    Args:
        source: the examples.
        transform: image uint8 [H,W,3] -> uint8 [size,size,3]; must pickle.
        batch_size: global, over all processes.
        num_workers: processes that decode; 0 for threads of this one.
        process_index: number of this process.
        process_count: number of processes that share every batch.

    Returns:
        dicts of {"image" uint8 [b,size,size,3], "label" int32 [b], "mask" float32 [b], "epoch" int32 [b] of zeros,
        "index" int32 [b], "view" int32 [b] of zeros}.

    Raises:
        InputError: the processes cannot share the batch, an image is unreadable (leaving it out would change the
            score), or a worker process died.
    """
    pieces = pieces_of(local_slice(batch_size, process_index, process_count))
    return read_ahead(_EvalPieces(source, transform, batch_size, pieces), num_workers, len(pieces))


def pieces_of(rows: slice) -> tuple[slice, ...]:
    """Return the rows of a process as pieces of work."""
    return tuple(slice(first, min(first + PIECE, rows.stop)) for first in range(rows.start, rows.stop, PIECE))


def _readable_batches(batches: Generator[Batch, None, None], order: Order) -> Generator[Batch, None, None]:
    """Yield training batches of which enough images were readable.

    Raises:
        InputError: of one, too many were not.
    """
    with closing(batches):
        for batch in batches:
            skipped, replaced = batch["skipped"], batch.pop("replaced")
            check_readable(skipped, int(replaced.sum()), len(replaced), order)
            yield {**batch, "skipped": list(dict.fromkeys(skipped))}


def check_readable(skipped: Sequence[str], replaced: int, rows: int, order: Order) -> None:
    """Refuse a batch of which too much is unreadable.

    Args:
        skipped: messages of the unreadable images so far.
        replaced: rows whose own image was one of them.
        rows: of this process.
        order: of the examples.

    Raises:
        InputError: too many were met, or more than half of the rows, if two or more.
    """
    if replaced > max(1, rows // 2):
        raise InputError(f"{replaced} of {rows} images of a batch are unreadable, the last: {skipped[-1]}")
    if len(skipped) > max(MAX_UNREADABLE * order.repeats, order.batch_size // 4):
        raise InputError(f"{len(skipped)} unreadable images in one batch, the last: {skipped[-1]}")


def to_device(batches: Iterator[Batch], sharding: Sharding, ahead: int = 2) -> Iterator[Batch]:
    """Transfer batches to the devices, `ahead` of them before they are needed.

    Args:
        batches: this process's rows; entries that are not arrays stay unchanged.
        sharding: of the global arrays, over their first axis.
        ahead: batches to hold on the device beside the one in use.

    Yields:
        The same dicts with global jax.Arrays.
    """
    waiting = collections.deque()
    for batch in batches:
        waiting.append(
            {
                name: jax.make_array_from_process_local_data(sharding, value)
                if isinstance(value, np.ndarray)
                else value
                for name, value in batch.items()
            }
        )
        if len(waiting) > ahead:
            yield waiting.popleft()
    yield from waiting


@dataclass(frozen=True)
class _TrainPieces:
    """Pieces of the training batches of one process: those of step `start`, then those of the next, and so on."""

    source: Source
    transform: HostTransform
    order: Order
    start: int
    stop: int
    size_at: Callable[[int], int] | None
    pieces: tuple[slice, ...]

    def __len__(self) -> int:
        return max(0, self.stop - self.start) * len(self.pieces)

    def __getitem__(self, index: int) -> Batch:
        step, piece = self.start + index // len(self.pieces), self.pieces[index % len(self.pieces)]
        size = self.size_at(step) if self.size_at else None
        epochs, at, views = (column[piece] for column in self.order.positions(step))
        rows = self.pieces[-1].stop - self.pieces[0].start
        skipped: list[str] = []
        images, labels, chosen = [], [], []
        replaced = np.zeros(len(at), bool)
        for row, place in enumerate(zip(epochs.tolist(), at.tolist(), views.tolist(), strict=True)):
            before = len(skipped)
            image, label, example = self._readable(*place, size, skipped)
            replaced[row] = len(skipped) > before
            check_readable(skipped, int(replaced.sum()), rows, self.order)
            images.append(image)
            labels.append(label)
            chosen.append(example)
        return {
            "image": np.stack(images),
            "label": np.array(labels, np.int32),
            "mask": np.ones(len(images), np.float32),
            "epoch": epochs.astype(np.int32),
            "index": np.array(chosen, np.int32),
            "view": views.astype(np.int32),
            "skipped": skipped,
            "replaced": replaced,
        }

    def _readable(
        self, epoch: int, position: int, view: int, size: int | None, skipped: list[str]
    ) -> tuple[np.ndarray, Any, int]:
        """Transform the first readable example from a position of the epoch on; append errors to `skipped`."""
        order, examples = self.order, self.order.examples(epoch)
        while True:
            index = int(examples[position % len(examples)])
            try:
                return *self._transformed(index, example_rng(order.seed, epoch, index, view), size), index
            except UnreadableImage as error:
                skipped.append(str(error))
            check_readable(skipped, 0, len(examples), order)
            position += 1

    def _transformed(self, index: int, rng: np.random.Generator, size: int | None) -> tuple[np.ndarray, Any]:
        from_file = getattr(self.transform, "from_file", None)
        if from_file is None:
            image, label = _decoded(self.source, index)
            if isinstance(label, np.ndarray):
                return self.transform(image, label, rng, size)
            return self.transform(image, rng, size), label
        image, label, name = self.source[index]
        if isinstance(image, np.ndarray):
            return self.transform(image, rng, size), label
        return from_file(image, name, rng, size, getattr(self.source, "intact", False)), label


@dataclass(frozen=True)
class _EvalPieces:
    """Pieces of the evaluation batches of one process, batch by batch."""

    source: Source
    transform: Callable[[np.ndarray], np.ndarray]
    batch_size: int
    pieces: tuple[slice, ...]

    def __len__(self) -> int:
        return -(-len(self.source) // self.batch_size) * len(self.pieces)

    def __getitem__(self, index: int) -> Batch:
        step, piece = index // len(self.pieces), self.pieces[index % len(self.pieces)]
        chosen, mask = (row[piece] for row in eval_rows(step, self.batch_size, len(self.source)))
        real = int(mask.sum())
        # Where all rows are padding, the first example still gives the shape of the zeros.
        examples = [_decoded(self.source, int(i)) for i in chosen[: max(1, real)]]
        images = [self.transform(image) for image, _ in examples]
        image = np.zeros((len(chosen), *images[0].shape), np.uint8)
        label = np.zeros(len(chosen), np.int32)
        for row in range(real):
            image[row], label[row] = images[row], examples[row][1]
        zeros = np.zeros_like(chosen)
        return {"image": image, "label": label, "mask": mask, "epoch": zeros, "index": chosen, "view": zeros}


def _decoded(source: Source, index: int) -> tuple[np.ndarray, Any]:
    example = source[index]
    return pixels_of(example), example.label
