"""Tiles: they cover a picture once, and their logits are the whole picture's where the margin suffices."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.errors import InputError
from resnet_jax.inference.tiles import jit_logits, windows
from resnet_jax.models.registry import create_model


@pytest.mark.parametrize("length", [1, 31, 32, 33, 64, 100])
def test_windows_cover_an_axis_once(length):
    found = windows(length, 32, 8)
    counted = np.concatenate([np.arange(w.first, w.last) for w in found])
    np.testing.assert_array_equal(counted, np.arange(length))
    for w in found:
        assert w.start == max(0, w.first - 8)
        assert w.stop == min(length, w.last + 8)


@pytest.mark.slow
def test_tiles_are_the_whole_picture_where_the_margin_is_wide_enough():
    # Its logits depend on 92 pixels to each side.
    model = create_model("unet", num_classes=3, width=2)
    images = jax.random.normal(jax.random.key(1), (2, 200, 328, 3))
    variables = model.init(jax.random.key(0), images)

    def apply(v: Any, x: jax.Array) -> Any:
        return model.apply(v, x)

    whole = jit_logits(apply)(variables, images)
    tiled = jit_logits(apply, 64, 96)(variables, images)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)
    near = jit_logits(apply, 64, 0)(variables, images)
    assert float(jnp.abs(near - whole).max()) > 1e-3  # a margin of nothing is seen


def test_a_small_picture_is_one_tile():
    calls = []

    def apply(v, x):
        calls.append(x.shape)
        return x

    jit_logits(apply, 64, 32)(0, jnp.zeros((1, 60, 64, 3)))
    assert calls == [(1, 60, 64, 3)]


@pytest.mark.parametrize(
    ("tile", "margin", "named"),
    [
        (100, 32, "--tile=100 must be a positive"),
        (64, 10, "--tile_margin=10 must be 0 or a"),
        (-32, 32, "--tile=-32 must be a positive"),
    ],
)
def test_tiles_lie_on_the_grid_of_the_strides(tile, margin, named):
    with pytest.raises(InputError, match=f"{named} multiple of 32; take"):
        jit_logits(lambda v, x: x, tile, margin)
