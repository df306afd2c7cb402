"""Loaders: batches of a source on the devices, and the part of preprocessing that runs there."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import jax
from jax.sharding import Mesh

from resnet_jax.data import pipeline, resident
from resnet_jax.data.augment.resize import short_side_size
from resnet_jax.data.order import Order
from resnet_jax.data.preprocessing import Preprocessing
from resnet_jax.data.shape_buckets import Shape, ShapedBatch, shaped_batches, whole_images
from resnet_jax.data.sources.source import ArraySource, Source
from resnet_jax.errors import InputError
from resnet_jax.runtime.batch import Batch
from resnet_jax.runtime.cores import usable_cores
from resnet_jax.runtime.sharding import put_whole, replicated, sharded, stack_sharded

# Worker processes take a second to start: threads read 3,925 images of 160 px in 1.2 to 1.6 s, one process in 4.7, and
# two in 3.4 s (two cores, docs/performance.md).
FEW_IMAGES = 5000


@dataclass(frozen=True)
class Loader:
    """Batches, and a function that finishes each inside the compiled step.

    Attributes:
        batches: from `(start, stop)`, in steps, to the batches of training, which also have the run's key (uint32
            [2], replicated); from `()` to one pass of evaluation.
        prepare: pure: (batch, in training also the steps done before it) -> {"image" float32 [B,H,W,3] normalized,
            "label", "mask", …}.
        requests: for a training set that lives on the devices, from `(start, stop)` to the indices of each step's
            examples, on the host; None for others. A batch is then {**held, "request": one of them}.
        held: arrays on the devices that all these batches share.
    """

    batches: Callable[..., Iterator[Batch]]
    prepare: Callable[..., Batch]
    requests: Callable[[int, int], Iterator[Batch]] | None = None
    held: Batch = field(default_factory=dict)


def resident_train_loader(held: Batch, order: Order, prepare: Callable[..., Batch], mesh: Mesh) -> Loader:
    """Return the loader of a training set that lives on the devices: a batch is `held`, and which rows it takes.

    Args:
        held: arrays on the devices that all batches share, the run's key among them.
        order: of the examples.
        prepare: as in `Loader`.
        mesh: the devices.
    """

    def requests(start: int, stop: int) -> Iterator[Batch]:
        return resident.train_requests(order, start=start, stop=stop, **process_share())

    def batches(start: int, stop: int) -> Iterator[Batch]:
        for request in pipeline.to_device(requests(start, stop), sharded(mesh)):
            yield {**held, "request": request}

    return Loader(batches, prepare, requests, held)


def streamed_train_loader(
    host_batches: Callable[..., Iterator[Batch]], key: jax.Array, finish: Callable[..., Batch], mesh: Mesh
) -> Loader:
    """Return the loader of a training set whose images the host decodes and crops.

    Args:
        host_batches: `pipeline.train_batches` but for the steps and the process's share.
        key: of the run, on the devices.
        finish: pure: (batch, the run's key, step) -> the finished batch, as `prepare` of `Loader`.
        mesh: the devices.
    """

    def batches(start: int, stop: int) -> Iterator[Batch]:
        host = host_batches(start=start, stop=stop, **process_share())
        for batch in pipeline.to_device(host, sharded(mesh)):
            yield {**batch, "key": key}

    def prepare(batch: Batch, step: Any) -> Batch:
        examples = {name: value for name, value in batch.items() if name != "key"}
        return finish(examples, jax.random.wrap_key_data(batch["key"]), step)

    return Loader(batches, prepare)


def run_key(seed: int, mesh: Mesh) -> jax.Array:
    """Return the data of a run's key on the devices, uint32 [2].

    It is an argument of the step and no constant in it: runs that differ in their seed have one program.
    """
    return put_whole(jax.random.key_data(jax.random.key(seed)), replicated(mesh))


def eval_loader(
    source: Source,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    num_workers: int,
    mesh: Mesh,
    batches_per_call: int = 1,
) -> Loader:
    """Return the loader of an evaluation: every example once, the last batch padded.

    Args:
        source: the examples.
        preprocessing: of the network.
        batch_size: rounded up to a multiple of the devices.
        num_workers: processes that decode; 0 threads of this one, -1 as `worker_count` chooses.
        mesh: the devices.
        batches_per_call: of a set that the devices hold, as in `resident_eval_loader`.
    """
    devices = mesh.devices.size
    batch_size = -(-batch_size // devices) * devices
    if isinstance(source, ArraySource) and preprocessing.keeps(*source.images.shape[1:3]):
        return resident_eval_loader(source, preprocessing, batch_size, batches_per_call, mesh)

    def streamed_batches() -> Iterator[Batch]:
        host = pipeline.eval_batches(
            source,
            preprocessing.crop(),
            batch_size=batch_size,
            num_workers=worker_count(num_workers, len(source)),
            **process_share(),
        )
        return pipeline.to_device(host, sharded(mesh))

    return Loader(streamed_batches, preprocessing.normalize)


def resident_eval_loader(
    source: ArraySource, preprocessing: Preprocessing, batch_size: int, batches_per_call: int, mesh: Mesh
) -> Loader:
    """Return the loader of an evaluation of images that the devices hold: a batch names the rows that it takes.

    Args:
        source: the images.
        preprocessing: of the network, of which the normalization is used.
        batch_size: a multiple of the devices.
        batches_per_call: the most batches in one. With more than 1, the loader yields `stacked_batches`, and `prepare`
            takes each by itself (`batch_of_stack`).
        mesh: the devices.
    """
    pool = resident.put(source, replicated(mesh))
    stacked = min(batches_per_call, -(-len(source) // batch_size))

    def batches() -> Iterator[Batch]:
        requests = resident.eval_requests(len(source), batch_size=batch_size, **process_share())
        if stacked == 1:
            for request in pipeline.to_device(requests, sharded(mesh)):
                yield {"pool": pool, "request": request}
            return
        parts: Iterator[list[Batch]] = iter(lambda: list(islice(requests, stacked)), [])
        yield from stacked_batches(parts, stacked, {"pool": pool}, mesh)

    def prepare(batch: Batch) -> Batch:
        return preprocessing.normalize(resident.gather(batch["pool"], batch["request"]))

    return Loader(batches, prepare)


def stacked_batches(parts: Iterable[Iterable[Batch]], length: int, held: Batch, mesh: Mesh) -> Iterator[Batch]:
    """Yield several batches in one: {**held, "steps": how many, "requests": theirs, arrays [length,B]}.

    Args:
        parts: the requests of each; at most `length`.
        length: rows of every stack, so that all have one program.
        held: arrays on the devices that all batches share.
        mesh: the devices, which share every batch as they do a single one.
    """
    stacks = (resident.stack_requests(part, length) for part in parts)
    for stack in pipeline.to_device(stacks, stack_sharded(mesh)):
        yield {**held, "steps": stack.pop("steps"), "requests": stack}


def whole_masks_loader(
    source: Source,
    sizes: Any,
    preprocessing: Preprocessing,
    *,
    short: int,
    batch_size: int,
    num_workers: int,
    mesh: Mesh,
) -> Loader:
    """Return the loader of an evaluation on whole pictures with masks, each once, each batch of one size.

    The networks take any size, so that nothing is padded: a picture's logits do not depend on those beside it.

    Args:
        source: the pictures.
        sizes: [N,2], their heights and widths.
        preprocessing: of the network, of which the normalization is used.
        short: shorter side to which pictures and masks are resized; 0: as they are.
        batch_size: rounded up to a multiple of the devices.
        num_workers: as in `eval_loader`.
        mesh: the devices.
    """

    def shape_of(height: int, width: int) -> Shape:
        return short_side_size(height, width, short) if short else (height, width)

    plan = shaped_batches(sizes, shape_of, lambda shape: batch_size, mesh.devices.size)
    return planned_loader(source, plan, preprocessing, num_workers=worker_count(num_workers, len(source)), mesh=mesh)


def planned_loader(
    source: Source, plan: tuple[ShapedBatch, ...], preprocessing: Preprocessing, *, num_workers: int, mesh: Mesh
) -> Loader:
    """Return the loader of whole images, or pictures with masks, in the batches of a plan.

    Args:
        source: the examples.
        plan: of `shaped_batches`.
        preprocessing: of the network, of which interpolation and normalization are used.
        num_workers: processes that decode; 0 for threads of this one.
        mesh: the devices.
    """

    def batches() -> Iterator[Batch]:
        kind = preprocessing.interpolation
        host = whole_images(source, plan, interpolation=kind, num_workers=num_workers, **process_share())
        return pipeline.to_device(host, sharded(mesh))

    return Loader(batches, preprocessing.normalize)


def process_share() -> dict[str, int]:
    """Return which share of every batch this process loads, as arguments of the pipeline."""
    return {"process_index": jax.process_index(), "process_count": jax.process_count()}


def worker_count(num_workers: int, images: int | None = None) -> int:
    """Return how many decoding processes to start: as given, or for -1 one for every usable core but one, at most 16.

    Args:
        num_workers: as in `Config`.
        images: that are read with them; for -1 threads of this process, and no worker, read fewer than FEW_IMAGES.

    Raises:
        InputError: less than -1.
    """
    if num_workers < -1:
        raise InputError(f"--num_workers={num_workers} must be at least -1")
    if num_workers >= 0:
        return num_workers
    return 0 if images is not None and images < FEW_IMAGES else max(1, min(16, usable_cores() - 1))
