from functools import partial

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from resnet_jax.data import resident
from resnet_jax.data.loader import eval_loader
from resnet_jax.data.order import Order
from resnet_jax.data.pipeline import eval_batches, to_device, train_batches
from resnet_jax.data.preprocessing import Preprocessing
from resnet_jax.data.sources.source import ArraySource
from resnet_jax.errors import InputError
from resnet_jax.training.loop import sum_batches
from resnet_jax.training.step import jit_eval_step

MESH = Mesh(np.array(jax.devices()[:4]), ("data",))
REPLICATED, SHARDED = NamedSharding(MESH, PartitionSpec()), NamedSharding(MESH, PartitionSpec("data"))
gather = jax.jit(resident.gather)


def source_of(stored: int, length: int) -> ArraySource:
    images = np.random.default_rng(0).integers(0, 256, (stored, 4, 4, 3), np.uint8)
    return ArraySource(images, np.arange(stored, dtype=np.int32) % 3, ("a", "b", "c"), length)


@pytest.mark.parametrize(
    ("stored", "repeats", "balanced"), [(5, 1, False), (21, 1, False), (21, 3, False), (21, 1, True)]
)
def test_training_sees_what_the_streamed_path_sees(stored, repeats, balanced):
    source = source_of(stored, 21)
    order, options = Order(3, len(source), 8, repeats, source.labels if balanced else None), {"start": 1, "stop": 7}
    pool = resident.put(source, REPLICATED)
    streamed = train_batches(source, lambda image, rng, size: image, order, num_workers=0, **options)
    requests = to_device(resident.train_requests(order, **options), SHARDED)
    for expected, request in zip(streamed, requests, strict=True):
        batch = gather(pool, request)
        assert batch["image"].sharding == SHARDED
        for name in ("image", "label", "mask", "epoch", "index", "view"):
            np.testing.assert_array_equal(batch[name], expected[name])


def test_evaluation_sees_what_the_streamed_path_sees():
    source = source_of(21, 21)
    pool = resident.put(source, REPLICATED)
    streamed = eval_batches(source, lambda image: image, batch_size=8, num_workers=0)
    requests = resident.eval_requests(len(source), batch_size=8)
    for expected, request in zip(streamed, requests, strict=True):
        batch, real = gather(pool, request), expected["mask"] == 1
        np.testing.assert_array_equal(batch["mask"], expected["mask"])
        np.testing.assert_array_equal(batch["view"], expected["view"])
        np.testing.assert_array_equal(batch["image"][real], expected["image"][real])
        np.testing.assert_array_equal(batch["label"][real], expected["label"][real])


@pytest.mark.parametrize("batches_per_call", [2, 3, 100])
def test_several_evaluation_batches_in_a_call_give_the_sums_of_each_alone(batches_per_call):
    source = source_of(45, 45)  # six batches of eight, the last with five images
    weights = jax.random.normal(jax.random.key(0), (48, 3))

    def total(count) -> tuple[int, dict]:
        preprocessing = Preprocessing(image_size=4, resize=4)
        loader = eval_loader(source, preprocessing, batch_size=8, num_workers=0, mesh=MESH, batches_per_call=count)
        step = jit_eval_step(lambda w, image: image.reshape(len(image), -1) @ w, loader.prepare, REPLICATED)
        batches = list(loader.batches())
        return len(batches), jax.device_get(sum_batches(batches, lambda batch: step(weights, batch)))

    (calls, sums), (single_calls, single) = total(batches_per_call), total(1)
    assert (calls, single_calls) == (-(-6 // batches_per_call), 6)
    assert sums["count"] == 45
    for name, value in single.items():
        np.testing.assert_allclose(sums[name], value, rtol=1e-6)


@pytest.mark.parametrize(
    "requests",
    [
        partial(resident.train_requests, Order(0, 20, 6), start=0, stop=4),
        partial(resident.eval_requests, 20, batch_size=6),
    ],
)
def test_the_processes_share_every_request(requests):
    whole = list(requests())
    halves = [list(requests(process_index=i, process_count=2)) for i in range(2)]
    for expected, first, second in zip(whole, *halves, strict=True):
        for name in expected:
            np.testing.assert_array_equal(np.concatenate([first[name], second[name]]), expected[name])


def test_impossible_batches_are_refused():
    with pytest.raises(InputError, match="cannot be shared by 2 processes"):
        resident.train_requests(Order(0, 8, 9), start=0, stop=1, process_count=2)
    with pytest.raises(InputError, match="cannot be shared by 2 processes"):
        resident.eval_requests(8, batch_size=3, process_count=2)


def test_a_set_in_memory_is_resized_and_cropped_where_the_network_asks_for_it():
    source = source_of(10, 10)
    options = {"batch_size": 4, "num_workers": 0, "mesh": MESH}
    cropped = eval_loader(source, Preprocessing(image_size=4, resize=6), **options)
    whole = eval_loader(source, Preprocessing(image_size=4, resize=4), **options)
    images = [np.asarray(loader.prepare(next(loader.batches()))["image"]) for loader in (cropped, whole)]
    assert images[0].shape == images[1].shape
    assert not np.allclose(images[0], images[1])
