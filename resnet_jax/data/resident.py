"""A small data set on the devices: the host sends indices, and the step looks the images up."""

from collections.abc import Iterable, Iterator

import jax
import numpy as np
from jax.sharding import Sharding

from resnet_jax.data.order import Order, eval_rows, local_slice
from resnet_jax.data.sources.source import ArraySource
from resnet_jax.runtime.batch import Batch
from resnet_jax.runtime.sharding import put_whole


def put(source: ArraySource, replicated_sharding: Sharding) -> dict[str, jax.Array]:
    """Copy the set to every device.

    Returns:
        {"images" uint8 [N,H,W,3], "labels" int32 [N]}.
    """
    arrays = {"images": source.images, "labels": source.labels}
    return {name: put_whole(array, replicated_sharding) for name, array in arrays.items()}


def train_requests(
    order: Order, *, start: int, stop: int, process_index: int = 0, process_count: int = 1
) -> Iterator[dict[str, np.ndarray]]:
    """Yield this process's rows of the batches of steps start to stop - 1, the same as `pipeline.train_batches`.

    Returns:
        dicts of {"epoch" int32 [b], "index" int32 [b], "view" int32 [b], "mask" float32 [b]}.

    Raises:
        InputError: the processes cannot share the batch.
    """
    local = local_slice(order.batch_size, process_index, process_count)

    def request(step: int) -> dict[str, np.ndarray]:
        epoch, index, view = (row[local] for row in order.rows(step))
        return {"epoch": epoch, "index": index, "view": view, "mask": np.ones(len(index), np.float32)}

    return map(request, range(start, stop))


def eval_requests(
    data_len: int, *, batch_size: int, process_index: int = 0, process_count: int = 1
) -> Iterator[dict[str, np.ndarray]]:
    """Yield every example once, in order; the last batch is padded and masked with 0.

    Returns:
        dicts of {"epoch" int32 [b], "index" int32 [b], "view" int32 [b], "mask" float32 [b]}; epoch and view are 0.

    Raises:
        InputError: the processes cannot share the batch.
    """
    local = local_slice(batch_size, process_index, process_count)

    def request(step: int) -> dict[str, np.ndarray]:
        index, mask = (row[local] for row in eval_rows(step, batch_size, data_len))
        return {"epoch": np.zeros_like(index), "index": index, "view": np.zeros_like(index), "mask": mask}

    return map(request, range(-(-data_len // batch_size)))


def stack_requests(requests: Iterable[dict[str, np.ndarray]], length: int) -> Batch:
    """Stack at most `length` requests: {"steps": how many they are, and for each array [b] one [length,b]}.

    Rows that belong to no request are 0, their masks too: all stacks have one shape, and so one program.
    """
    rows = list(requests)
    empty = {name: np.zeros_like(row) for name, row in rows[0].items()}
    filled = [*rows, *[empty] * (length - len(rows))]
    return {"steps": len(rows), **{name: np.stack([row[name] for row in filled]) for name in empty}}


def gather(pool: dict[str, jax.Array], request: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Look up the batch of one request; pure, to be called inside jit.

    Returns:
        {"image" uint8 [B,H,W,3], "label" int32 [B], "mask", "epoch", "index", "view"}.
    """
    stored = request["index"] % len(pool["labels"])  # a set may be longer than what it stores, and repeat
    return {
        "image": pool["images"].at[stored].get(mode="promise_in_bounds"),
        "label": pool["labels"].at[stored].get(mode="promise_in_bounds"),
        **{name: request[name] for name in ("mask", "epoch", "index", "view")},
    }
