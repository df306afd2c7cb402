import time
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from resnet_jax.data import pipeline
from resnet_jax.data.augment import host
from resnet_jax.data.order import Order, epoch_order
from resnet_jax.data.pipeline import eval_batches, to_device, train_batches
from resnet_jax.data.resolution import FixedSize, ProgressiveSize
from resnet_jax.data.sources.folder import folder_source
from resnet_jax.data.sources.source import ArraySource
from resnet_jax.errors import InputError


def small_source(n: int) -> ArraySource:
    """Example i is an image of only i, of class i % 4."""
    numbers = np.arange(n, dtype=np.uint8)
    images = np.broadcast_to(numbers[:, None, None, None], (n, 2, 2, 3)).copy()
    return ArraySource(images, (numbers % 4).astype(np.int32), tuple("abcd"), n)


def keep(image: np.ndarray) -> np.ndarray:
    return image


def keep_train(image: np.ndarray, rng: np.random.Generator, size: None) -> np.ndarray:
    return image


def noisy(image: np.ndarray, rng: np.random.Generator, size: None) -> np.ndarray:
    return image + rng.integers(0, 3, image.shape, np.uint8)


def crop(image: np.ndarray, rng: np.random.Generator, size: int) -> np.ndarray:
    return host.random_flip(host.random_resized_crop(image, size, rng), rng)


GROWING = ProgressiveSize(8, 16, start=0, stop=2, steps_per_epoch=2, multiple=4)


def train(source, transform, batch_size=6, repeats=1, labels=None, **options: Any):
    order = Order(0, len(source), batch_size, repeats, labels)
    defaults: dict[str, Any] = {"start": 0, "stop": 7, "num_workers": 0}
    return train_batches(source, transform, order, **(defaults | options))


def assert_equal_streams(left, right):
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


@settings(deadline=None, max_examples=15)
@given(
    n=st.integers(2, 30),
    share=st.integers(1, 4),
    processes=st.integers(1, 3),
    resume=st.integers(0, 6),
    repeats=st.integers(0, 4),
)
def test_processes_together_see_the_stream_of_one_and_resume_anywhere(n, share, processes, resume, repeats):
    source, options = small_source(n), {"batch_size": share * processes, "repeats": max(1, repeats)}
    options["labels"] = None if repeats else source.labels  # 0: balanced
    whole = list(train(source, noisy, **options))
    options["process_count"] = processes
    parts = [list(train(source, noisy, start=resume, process_index=i, **options)) for i in range(processes)]
    for expected, *shares in zip(whole[resume:], *parts, strict=True):
        for name in ("image", "label", "epoch", "index", "view"):
            np.testing.assert_array_equal(np.concatenate([part[name] for part in shares]), expected[name])


def test_a_batch_is_what_it_says():
    source = small_source(20)
    for batch in train(source, keep_train):
        np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], batch["index"])
        np.testing.assert_array_equal(batch["label"], batch["index"] % 4)
        assert {name: (value.dtype.name, value.shape) for name, value in batch.items() if name != "skipped"} == {
            "image": ("uint8", (6, 2, 2, 3)),
            "label": ("int32", (6,)),
            "mask": ("float32", (6,)),
            "epoch": ("int32", (6,)),
            "index": ("int32", (6,)),
            "view": ("int32", (6,)),
        }
        assert batch["skipped"] == []


def test_the_views_of_an_example_differ():
    batch = next(train(small_source(20), noisy, repeats=3))
    first, second = batch["index"][:2]
    assert list(batch["index"]) == [first, second] * 3
    assert list(batch["view"]) == [0, 0, 1, 1, 2, 2]
    assert len({batch["image"][row].tobytes() for row in (0, 2, 4)}) == 3


def test_a_batch_has_the_size_of_its_step():
    source = small_source(20)
    batches = list(train(source, crop, size_at=GROWING))
    assert [batch["image"].shape for batch in batches] == [(6, size, size, 3) for size in (8, 8, 12, 12, 16, 16, 16)]
    resumed = list(train(source, crop, size_at=GROWING, start=3, process_index=1, process_count=2))
    for batch, part in zip(batches[3:], resumed, strict=True):
        np.testing.assert_array_equal(batch["image"][3:], part["image"])


@pytest.mark.slow
def test_the_stream_does_not_depend_on_the_workers(write_folder):
    root = write_folder({"train/a": 10, "train/b": 9})
    (root / "train" / "a" / "3.png").write_bytes(b"")
    source = folder_source("train", str(root))
    options = {"repeats": 2, "size_at": GROWING}
    streams = [list(train(source, crop, num_workers=workers, **options)) for workers in (0, 1, 2)]
    assert_equal_streams(streams[0], streams[1])
    assert_equal_streams(streams[0], streams[2])
    assert type(streams[2][0]["image"]) is np.ndarray


def test_a_late_step_starts_at_once():
    started = time.monotonic()
    batch = next(train(small_source(20), noisy, start=10**6, stop=2 * 10**6))
    assert time.monotonic() - started < 1
    assert batch["epoch"][0] == 6 * 10**6 // 20


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_batch_in_pieces_is_the_batch_in_one(monkeypatch, write_folder, workers):
    root = write_folder({"train/a": 12, "val/a": 7})
    for name in ("train/a/3.png", "train/a/7.png"):
        (root / name).write_bytes(b"")
    source, other = folder_source("train", str(root)), folder_source("val", str(root))

    def batches():
        yield from train(source, noisy, batch_size=10, stop=3, num_workers=workers, repeats=3)
        yield from eval_batches(other, keep, batch_size=10, num_workers=workers)

    whole = list(batches())
    monkeypatch.setattr(pipeline, "PIECE", 4)
    assert_equal_streams(whole, batches())


class TestUnreadable:
    def test_is_replaced_by_the_next_of_the_order_and_named(self, write_folder):
        root = write_folder({"train/a": 12})
        for name in ("3.png", "7.png"):
            (root / "train" / "a" / name).write_bytes(b"")
        source = folder_source("train", str(root))
        bad = {i for i in range(12) if source[i].name.endswith(("/3.png", "/7.png"))}
        order = [int(i) for i in epoch_order(0, 0, 12)]
        expected = []
        for place in range(12):
            expected.append(next(i for i in (order * 2)[place:] if i not in bad))
        batches = list(train(source, keep_train, stop=2))
        assert [int(i) for batch in batches for i in batch["index"]] == expected
        skipped = [message for batch in batches for message in batch["skipped"]]
        assert {message.split(": ")[0] for message in skipped} == {source[i].name for i in bad}

    def test_is_replaced_in_all_its_views(self, write_folder):
        root = write_folder({"train/a": 12})
        (root / "train" / "a" / "3.png").write_bytes(b"")
        source = folder_source("train", str(root))
        bad = next(i for i in range(12) if source[i].name.endswith("/3.png"))
        # 60 samples show 5 epochs of 12, each of the first four of its order three times.
        batches = list(train(source, keep_train, stop=10, repeats=3))
        index, view, epoch = (np.concatenate([batch[name] for batch in batches]) for name in ("index", "view", "epoch"))
        assert bad not in index
        for e in range(5):
            order = [int(i) for i in epoch_order(0, e, 12)]
            expected = [next(i for i in order[place:] + order if i != bad) for place in range(4)]
            for v in range(3):
                assert list(index[(epoch == e) & (view == v)]) == expected
        assert any(bad in epoch_order(0, e, 12)[:4] for e in range(5))
        assert {len(batch["skipped"]) for batch in batches} == {0, 1}

    def test_too_many_are_refused(self, write_folder):
        root = write_folder({"train/a": 30})
        for file in (root / "train" / "a").iterdir():
            file.write_bytes(b"<html>")
        with pytest.raises(InputError, match=r"21 unreadable images in one batch, the last: .*png: a web page"):
            next(train(folder_source("train", str(root)), crop, size_at=FixedSize(16)))

    @pytest.mark.parametrize(("damaged", "rows"), [(3, 6), (1, 2)])
    def test_half_of_a_small_batch_is_replaced_and_more_is_refused(self, write_folder, damaged, rows):
        root = write_folder({"train/a": 12})
        source = folder_source("train", str(root))
        names = [source[int(i)].name.rpartition("/")[2] for i in epoch_order(0, 0, 12)]
        for name in names[:damaged]:
            (root / "train" / "a" / name).write_bytes(b"")
        assert len(next(train(source, keep_train, batch_size=rows))["skipped"]) == damaged
        (root / "train" / "a" / names[damaged]).write_bytes(b"")
        with pytest.raises(InputError, match=rf"{damaged + 1} of {rows} images of a batch are unreadable, the last: "):
            next(train(source, keep_train, batch_size=rows))

    @pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
    def test_one_ends_an_evaluation(self, write_folder, workers):
        root = write_folder({"val/a": 8})
        (root / "val" / "a" / "5.png").write_bytes(b"")
        with pytest.raises(InputError, match=r"a/5\.png: empty"):
            list(eval_batches(folder_source("val", str(root)), keep, batch_size=3, num_workers=workers))


@pytest.mark.parametrize("processes", [1, 2, 4])
@pytest.mark.parametrize("n", [1, 5, 8, 9])
def test_evaluation_is_exact(n, processes):
    source = small_source(n)
    parts = [
        list(eval_batches(source, keep, batch_size=8, num_workers=0, process_index=i, process_count=processes))
        for i in range(processes)
    ]
    seen = []
    for step in range(len(parts[0])):
        batch = {name: np.concatenate([part[step][name] for part in parts]) for name in parts[0][step]}
        real = batch["mask"] == 1
        assert batch["image"].shape == (8, 2, 2, 3)
        assert not batch["image"][~real].any()
        assert not batch["label"][~real].any()
        assert not batch["view"].any()
        seen += batch["image"][real][:, 0, 0, 0].tolist()
        np.testing.assert_array_equal(batch["label"][real], batch["index"][real] % 4)
    assert seen == list(range(n))


def test_impossible_batches_are_refused():
    with pytest.raises(InputError, match="cannot be shared by 4 processes"):
        train(small_source(20), noisy, process_count=4)


class TestToDevice:
    sharding = NamedSharding(Mesh(np.array(jax.devices()[:2]), ("data",)), PartitionSpec("data"))

    def test_makes_global_arrays_and_passes_the_rest(self):
        batches = list(train(small_source(20), noisy))
        for batch, device in zip(batches, to_device(iter(batches), self.sharding), strict=True):
            assert device["image"].sharding == self.sharding
            assert device["skipped"] == []
            for name in ("image", "label", "mask", "epoch", "index", "view"):
                np.testing.assert_array_equal(batch[name], device[name])

    @pytest.mark.parametrize("ahead", [0, 1, 2])
    def test_stays_ahead_by_what_is_asked(self, ahead):
        taken = []

        def batches():
            for step in range(6):
                taken.append(step)
                yield {"image": np.zeros((2, 1), np.float32)}

        on_device = to_device(batches(), self.sharding, ahead)
        next(on_device)
        assert len(taken) == 1 + ahead
        assert len(list(on_device)) == 5
