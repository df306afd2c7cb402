import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_jax.data.order import Order, epoch_order, eval_rows, example_rng, local_slice
from resnet_jax.errors import InputError

sizes = st.integers(1, 50)


@given(seed=st.integers(0, 2**63), epoch=st.integers(0, 10**6), n=sizes)
def test_an_epoch_is_a_permutation(seed, epoch, n):
    assert sorted(epoch_order(seed, epoch, n)) == list(range(n))


@given(seed=st.integers(0, 1000), batch_size=sizes, n=sizes)
def test_every_example_comes_once_an_epoch_across_batches(seed, batch_size, n):
    steps = -(-3 * n // batch_size)
    epoch, index, view = stream(seed, steps, batch_size, n, repeats=1)
    for e in range(3):
        assert list(index[epoch == e]) == list(epoch_order(seed, e, n))
    assert (np.diff(epoch) >= 0).all()
    assert not view.any()


@given(seed=st.integers(0, 1000), batch_size=sizes, n=sizes, repeats=st.integers(1, 5))
def test_an_epoch_shows_the_first_examples_of_its_order_in_all_their_views(seed, batch_size, n, repeats):
    epoch, index, view = stream(seed, -(-3 * n // batch_size), batch_size, n, repeats)
    for e in range(3):
        seen = sorted(zip(index[epoch == e], view[epoch == e], strict=True))
        shown = epoch_order(seed, e, n)[: -(-n // repeats)]
        assert len(seen) == n
        assert len(set(seen)) == n
        # The last example has fewer views where n is not a multiple of them.
        whole = [(i, v) for i in shown[: n // repeats] for v in range(repeats)]
        assert seen == sorted(whole + [(i, v) for i in shown[n // repeats :] for v in range(n % repeats)])


@given(seed=st.integers(0, 1000), step=st.integers(0, 50), batch_size=sizes, n=sizes, repeats=st.integers(1, 5))
def test_a_batch_is_its_stretch_of_the_stream_by_view(seed, step, batch_size, n, repeats):
    expected = []
    for q in range(step * batch_size, (step + 1) * batch_size):
        epoch, sample = divmod(q, n)
        expected.append((epoch, epoch_order(seed, epoch, n)[sample // repeats], sample % repeats))
    expected.sort(key=lambda row: row[2])  # stable
    found = Order(seed, n, batch_size, repeats).rows(step)
    assert list(zip(*(column.tolist() for column in found), strict=True)) == expected


@given(share=st.integers(1, 8), step=st.integers(0, 9), repeats=st.integers(2, 4))
def test_the_views_of_an_example_lie_on_different_devices(share, step, repeats):
    batch_size = share * repeats
    _, index, view = Order(0, 10 * batch_size, batch_size, repeats).rows(step)
    device = np.repeat(np.arange(repeats), share)
    for i in set(index.tolist()):
        assert sorted(view[index == i]) == list(range(repeats))
        assert len(set(device[index == i])) == repeats


def test_repeats_need_not_divide_the_batch():
    _, index, view = Order(0, 1_281_167, 2048, 3).rows(1)
    assert list(np.bincount(view)) == [683, 682, 683]
    examples, counts = np.unique(index, return_counts=True)
    # The first example had two views in the batch before, the last one has two in the next.
    assert len(examples) == 684
    assert sorted(counts)[:2] == [1, 1]
    assert set(counts.tolist()) == {1, 3}
    assert counts.sum() == 2048


def stream(seed, steps, batch_size, n, repeats):
    """The columns of the first batches, one after another."""
    batches = [Order(seed, n, batch_size, repeats).rows(step) for step in range(steps)]
    return [np.concatenate(column) for column in zip(*batches, strict=True)]


@given(batch_size=sizes, n=sizes)
def test_evaluation_counts_every_example_once_in_order(batch_size, n):
    parts = [eval_rows(step, batch_size, n) for step in range(-(-n // batch_size))]
    index, mask = (np.concatenate(part) for part in zip(*parts, strict=True))
    np.testing.assert_array_equal(index[mask == 1], np.arange(n))
    assert set(index[mask == 0]) <= {0}
    assert all(len(part) == batch_size for part, _ in parts)


@given(share=sizes, processes=st.integers(1, 8))
def test_the_processes_share_the_batch(share, processes):
    batch = np.arange(share * processes)
    slices = [local_slice(len(batch), i, processes) for i in range(processes)]
    np.testing.assert_array_equal(np.concatenate([batch[part] for part in slices]), batch)


def test_seeds_and_epochs_have_orders_of_their_own():
    orders = [tuple(epoch_order(seed, epoch, 50)) for seed in range(3) for epoch in range(3)]
    assert len(set(orders)) == 9


def test_the_order_is_pinned():
    # A change here would silently give every resumed run another stream.
    assert list(epoch_order(0, 0, 8)) == [2, 4, 3, 6, 5, 0, 1, 7]
    assert list(example_rng(0, 1, 2).integers(0, 100, 5)) == [56, 89, 37, 38, 64]


def test_a_late_step_of_imagenet_is_found_at_once():
    epoch, index, view = Order(0, 1_281_167, 1024).rows(10**6)
    assert epoch.dtype == index.dtype == view.dtype == np.int32
    assert epoch[0] == 10**6 * 1024 // 1_281_167


def test_every_view_is_augmented_otherwise():
    assert list(example_rng(0, 1, 2, 0).integers(0, 100, 5)) == list(example_rng(0, 1, 2).integers(0, 100, 5))
    keys = [(1, 2, 0), (1, 2, 1), (1, 2, 2), (1, 0, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1), (0, 1, 1)]
    assert len({example_rng(0, *key).random() for key in keys}) == len(keys)


def test_augmentation_draws_other_numbers_than_the_order():
    assert example_rng(0, 0, 0).random() != np.random.default_rng((0, 0)).random()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"n": 0}, "there are no training examples"),
        ({"seed": -1}, "--seed=-1"),
        ({"repeats": 0}, "--repeats=0 shows no example; take 1"),
        ({"repeats": 2, "labels": np.zeros(8, np.int32)}, "leave --repeats=2 out"),
    ],
)
def test_impossible_training_streams_are_refused(options, says):
    with pytest.raises(InputError, match=says):
        Order(**({"seed": 0, "n": 8, "batch_size": 8} | options))


labelings = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(lambda values: np.array(values, np.int32))


@given(labels=labelings, seed=st.integers(0, 1000), epoch=st.integers(0, 9))
def test_a_balanced_epoch_has_every_class_equally_often_to_within_one(labels, seed, epoch):
    n = len(labels)
    order = Order(seed, n, batch_size=n, labels=labels)  # a batch is an epoch
    _, index, view = order.rows(epoch)
    counts = np.bincount(labels[index], minlength=5)[np.unique(labels)]
    assert counts.sum() == n
    assert counts.max() - counts.min() <= 1
    # Nothing comes again before the rest of its class has come, and each time as another view.
    for label in np.unique(labels):
        times = np.bincount(index[labels[index] == label], minlength=n)[labels == label]
        assert times.max() - times.min() <= 1
    for example in np.unique(index):
        assert sorted(view[index == example]) == list(range((index == example).sum()))


def test_balanced_epochs_draw_other_examples_of_a_large_class():
    labels = np.array([0] * 90 + [1] * 10, np.int32)
    order = Order(3, 100, batch_size=100, labels=labels)
    large = [set(index[labels[index] == 0].tolist()) for index in (order.rows(epoch)[1] for epoch in range(8))]
    assert all(len(drawn) == 50 for drawn in large)
    assert len(set.union(*large)) == 90
    assert len({frozenset(drawn) for drawn in large}) == 8


@given(labels=labelings, batch_size=sizes, step=st.integers(0, 20))
def test_a_balanced_batch_is_its_stretch_of_the_epochs_in_any_process(labels, batch_size, step):
    n = len(labels)
    order = pickle.loads(pickle.dumps(Order(1, n, batch_size, labels=labels)))
    whole = Order(1, n, n, labels=labels)
    first, last = step * batch_size, (step + 1) * batch_size
    epochs = range(first // n, -(-last // n))
    stream = [np.concatenate(column) for column in zip(*(whole.rows(epoch) for epoch in epochs), strict=True)]
    for expected, found in zip(stream, order.rows(step), strict=True):
        np.testing.assert_array_equal(found, expected[first - epochs[0] * n :][:batch_size])


def test_the_balanced_order_is_pinned():
    _, index, view = Order(0, 6, 6, labels=np.array([0, 0, 0, 0, 1, 1], np.int32)).rows(0)
    assert (index.tolist(), view.tolist()) == ([4, 0, 1, 2, 5, 4], [0, 0, 0, 0, 0, 1])


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(InputError, match="a batch of 6 cannot be shared by 4 processes"):
        local_slice(6, 0, 4)


def test_the_labels_that_a_source_holds_are_sent_to_a_worker_once():
    labels = np.arange(100_000, dtype=np.int32) % 7
    sent = pickle.dumps((labels, Order(0, len(labels), 8, labels=labels)))
    assert len(sent) < 1.1 * labels.nbytes


def test_an_epoch_of_fourteen_million_examples_keeps_four_bytes_of_each():
    n = 14_000_000
    order = Order(seed=0, n=n, batch_size=1024)
    tracemalloc.start()
    try:
        _, index, _ = order.rows(10_000_000)  # in the middle of its epoch
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(set(index.tolist())) == 1024
    assert kept < 4.1 * n
    assert peak < 13 * n  # the permutation of 8-byte numbers, and its copy
