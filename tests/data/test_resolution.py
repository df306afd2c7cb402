import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_jax.data.resolution import FixedSize, ProgressiveSize
from resnet_jax.errors import InputError


def test_sizes_of_ffcv_s_recipe_for_resnet50():
    # ffcv-imagenet, rn50_configs for 16 and for 88 epochs: with 176 = 5.5 * 32 in the middle of the ramp, half to even.
    short = ProgressiveSize(160, 192, start=11, stop=13, steps_per_epoch=10)
    assert [short(10 * epoch) for epoch in (0, 11, 12, 13, 15)] == [160, 160, 192, 192, 192]
    long = ProgressiveSize(160, 192, start=65, stop=76, steps_per_epoch=10)
    assert [long(10 * epoch) for epoch in (65, 66, 70, 71, 76, 87)] == [160, 160, 160, 192, 192, 192]
    # 128 + 96 * k / 6 = 144, 160, 176, 192, 208; 144 is 4.5 times 32 and goes to 4, 176 is 5.5 times and goes to 6.
    wide = ProgressiveSize(128, 224, start=0, stop=6, steps_per_epoch=1)
    assert [wide(epoch) for epoch in range(8)] == [128, 128, 160, 192, 192, 192, 224, 224]


def test_the_size_changes_at_the_first_step_of_an_epoch():
    sizes = ProgressiveSize(32, 96, start=0, stop=2, steps_per_epoch=2.5)
    # Epochs begin at steps 0, 2.5 and 5: step 2 is the last that begins in epoch 0.
    assert [sizes(step) for step in range(7)] == [32, 32, 32, 64, 64, 96, 96]


@given(
    low=st.integers(1, 300),
    more=st.integers(0, 300),
    start=st.integers(0, 20),
    length=st.integers(0, 20),
    steps_per_epoch=st.floats(0.5, 20),
    multiple=st.sampled_from([1, 8, 32]),
)
def test_images_grow_from_low_to_high(low, more, start, length, steps_per_epoch, multiple):
    sizes = ProgressiveSize(low, low + more, start, start + length, steps_per_epoch, multiple)
    last = int((start + length + 1) * steps_per_epoch) + 1
    seen = [sizes(step) for step in range(last + 1)]
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (low, low + more)
    assert all(size % multiple == 0 or size in (low, low + more) for size in seen)
    assert all(type(size) is int for size in seen)


def test_a_fixed_size_is_the_same_in_every_step():
    assert {FixedSize(224)(step) for step in range(100)} == {224}


@pytest.mark.parametrize("sizes", [FixedSize(32), ProgressiveSize(32, 64, 1, 3, 2.5)])
def test_sizes_pickle_for_worker_processes(sizes):
    again = pickle.loads(pickle.dumps(sizes))
    assert [again(step) for step in range(10)] == [sizes(step) for step in range(10)]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"low": 256}, "from 256 to 224 pixels"),
        ({"low": 0}, "from 0 to 224"),
        ({"stop": 0}, "from epoch 1 to 0"),
        ({"steps_per_epoch": 0}, "0 steps an epoch"),
        ({"multiple": 0}, "multiples of 0"),
    ],
)
def test_impossible_sizes_are_refused(change, says):
    with pytest.raises(InputError, match=says):
        ProgressiveSize(**{"low": 160, "high": 224, "start": 1, "stop": 3, "steps_per_epoch": 10} | change)
