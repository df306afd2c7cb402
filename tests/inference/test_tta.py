"""Test-time views against plain numpy loops."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.errors import InputError
from resnet_jax.inference.tta import VIEWS, averaged_logits

SIZE = 6
IMAGES = np.random.default_rng(0).normal(size=(3, SIZE, SIZE, 2)).astype(np.float32)
WEIGHTS = np.random.default_rng(1).normal(size=(SIZE * SIZE * 2, 5)).astype(np.float32)


def network(images: jax.Array) -> jax.Array:
    """Logits that are no linear function of the image, and that depend on where everything is."""
    return jnp.tanh(images.reshape(len(images), -1)) @ WEIGHTS


def logits_of_views(views: str) -> np.ndarray:
    """The mean over views, one image and one pixel at a time."""
    mean = np.zeros((len(IMAGES), 5))
    moves = {"center": [(1.0, 0)], "flip": [(1.0, 0)], "flip_translate": [(0.5, 0), (0.25, 1), (0.25, -1)]}[views]
    for weight, move in moves:
        for mirrored in (False,) if views == "center" else (False, True):
            seen = np.zeros_like(IMAGES)
            for i in range(SIZE):
                for j in range(SIZE):
                    column = SIZE - 1 - j if mirrored else j
                    # What lies beyond an edge is as far on this side of it.
                    y, x = (abs(p) if p < SIZE else 2 * (SIZE - 1) - p for p in (i - move, column - move))
                    seen[:, i, j] = IMAGES[:, y, x]
            logits = np.tanh(seen.reshape(len(seen), -1).astype(np.float64)) @ WEIGHTS
            mean += logits * weight / (1 if views == "center" else 2)
    return mean


@pytest.mark.parametrize("views", VIEWS)
def test_logits_are_averaged_over_the_views(views):
    logits = averaged_logits(network, jnp.asarray(IMAGES), views)
    np.testing.assert_allclose(logits, logits_of_views(views), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("views", VIEWS)
def test_weights_sum_to_one(views):
    assert sum(weight for weight, _ in VIEWS[views]) == 1.0


@pytest.mark.parametrize("views", VIEWS)
def test_each_view_is_another_one(views):
    seen = {np.asarray(view(jnp.asarray(IMAGES))).tobytes() for _, view in VIEWS[views]}
    assert len(seen) == len(VIEWS[views]) == {"center": 1, "flip": 2, "flip_translate": 6}[views]


def test_a_mirrored_image_gives_what_the_image_gives():
    # Not so with translations, which are along one diagonal only.
    logits = averaged_logits(network, jnp.asarray(IMAGES), "flip")
    mirrored = averaged_logits(network, jnp.asarray(IMAGES[:, :, ::-1]), "flip")
    np.testing.assert_allclose(logits, mirrored, rtol=1e-5, atol=1e-5)


def test_views_compile_and_pickle():
    assert pickle.loads(pickle.dumps(VIEWS)) is not None
    compiled = jax.jit(lambda images: averaged_logits(network, images, "flip_translate"))
    np.testing.assert_allclose(compiled(IMAGES), logits_of_views("flip_translate"), rtol=1e-5, atol=1e-5)


def test_unknown_views_are_refused():
    with pytest.raises(InputError, match=r"no views 'mirror'; known are center, flip, flip_translate"):
        averaged_logits(network, jnp.asarray(IMAGES), "mirror")
