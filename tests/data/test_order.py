import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_jax.data.order import (
    check_train,
    epoch_order,
    eval_rows,
    example_rng,
    local_slice,
    rows,
)
from resnet_jax.errors import InputError

sizes = st.integers(1, 50)


@given(seed=st.integers(0, 2**63), epoch=st.integers(0, 10**6), n=sizes)
def test_an_epoch_is_a_permutation(seed, epoch, n):
    assert sorted(epoch_order(seed, epoch, n)) == list(range(n))


@given(seed=st.integers(0, 1000), batch_size=sizes, n=sizes)
def test_every_example_comes_once_an_epoch_across_batches(seed, batch_size, n):
    steps = -(-3 * n // batch_size)
    epoch, index = (
        np.concatenate(part) for part in zip(*(rows(seed, s, batch_size, n) for s in range(steps)), strict=True)
    )
    for e in range(3):
        assert sorted(index[epoch == e]) == list(range(n))
    assert (np.diff(epoch) >= 0).all()


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
    epoch, index = rows(0, 10**6, 1024, 1_281_167)
    assert epoch.dtype == index.dtype == np.int32
    assert epoch[0] == 10**6 * 1024 // 1_281_167


def test_augmentation_draws_other_numbers_than_the_order():
    assert example_rng(0, 0, 0).random() != np.random.default_rng((0, 0)).random()


@pytest.mark.parametrize(("n", "batch_size", "seed", "says"), [(7, 8, 0, "7 or less"), (8, 8, -1, "--seed=-1")])
def test_impossible_training_streams_are_refused(n, batch_size, seed, says):
    with pytest.raises(InputError, match=says):
        check_train(n, batch_size, seed)


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(InputError, match="a batch of 6 cannot be shared by 4 processes"):
        local_slice(6, 0, 4)
