"""Test-time augmentation: one prediction from several views of an image.

The views in `VIEWS` average logits, as their sources do. Ten-crop and multi-scale testing average scores, the softmax
of the logits, as He et al. 2015 do: the logarithm of that mean is a logit like any other (its softmax is the mean
itself), so loss and accuracy are computed from it as usual.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from resnet_jax.errors import InputError

View = Callable[[jax.Array], jax.Array]


def as_it_is(images: jax.Array) -> jax.Array:
    """Return images [B,H,W,C] unchanged."""
    return images


def mirror(images: jax.Array) -> jax.Array:
    """Return images [B,H,W,C] with left and right exchanged."""
    return images[:, :, ::-1]


def shift(images: jax.Array, pixels: int) -> jax.Array:
    """Return images [B,H,W,C] moved down and to the right by `pixels`, up and to the left if negative.

    The gap shows the image reflected at its edge, without the edge itself.
    """
    size = abs(pixels)
    padded = jnp.pad(images, ((0, 0), (size, size), (size, size), (0, 0)), mode="reflect")
    start = size - pixels
    return padded[:, start : start + images.shape[1], start : start + images.shape[2]]


def mirrored_shift(images: jax.Array, pixels: int) -> jax.Array:
    """Return `mirror` of `shift`."""
    return mirror(shift(images, pixels))


# Views and their weights, which sum to 1.
VIEWS: dict[str, tuple[tuple[float, View], ...]] = {
    "center": ((1.0, as_it_is),),
    # ffcv's evaluation of ResNets.
    "flip": ((0.5, as_it_is), (0.5, mirror)),
    # Level 2 of airbench (Jordan 2024): half of the weight on the image where it is, a quarter on each of two
    # translations along the diagonal, and every one of them half mirrored.
    "flip_translate": (
        (0.25, as_it_is),
        (0.25, mirror),
        *((0.125, partial(view, pixels=pixels)) for pixels in (1, -1) for view in (shift, mirrored_shift)),
    ),
}


def averaged_logits(apply: Callable[[jax.Array], Any], images: jax.Array, views: str = "center") -> jax.Array:
    """Return the weighted mean of the logits of an image's views: [B,K], in the logits' type.

    Args:
        apply: from images [B,H,W,C] to logits [B,K] or [B,H,W,K], such as `partial(model.apply, variables)`; called
            once a view.
        images: [B,H,W,C], normalized, and so are the reflected margins.
        views: a key of `VIEWS`.

    Raises:
        InputError: there are no such views.
    """
    if views not in VIEWS:
        raise InputError(f"there are no views {views!r}; known are {', '.join(VIEWS)}")
    (weight, view), *others = VIEWS[views]
    mean = weight * seen_back(view, apply(view(images)))
    for weight, view in others:
        mean = mean + weight * seen_back(view, apply(view(images)))
    return mean


def seen_back(view: View, logits: jax.Array) -> jax.Array:
    """Return the logits of a view where the image is: those of pixels [B,H,W,K] are mirrored with it.

    Raises:
        InputError: the view moves pixels in other ways.
    """
    if logits.ndim == 2 or view is as_it_is:
        return logits
    if view is not mirror:
        raise InputError("the views flip_translate are for classifiers; take center or flip")
    return mirror(logits)


Apply = Callable[[Any, jax.Array], jax.Array]  # (variables, images [B,H,W,C]) -> logits [B,K]

# The paper's Table 4 and section 4.1: shorter sides of the whole image, pixels.
SCALES = (224, 256, 384, 480, 640)


def log_mean_scores(logits: jax.Array) -> jax.Array:
    """Return the logarithm of the mean over V views of the softmax of logits [B,V,K]: float32 [B,K], no underflow."""
    scores = jax.nn.log_softmax(logits.astype(jnp.float32))
    return jax.nn.logsumexp(scores, axis=1) - jnp.log(float(logits.shape[1]))


def of_crops_and_mirror_images(apply: Apply, variables: Any, crops: jax.Array) -> jax.Array:
    """Return the log of the mean scores of V crops of each image and of their mirror images.

    The network is applied to 2 V B images at once: one program to compile.

    Args:
        apply: the network.
        variables: its variables.
        crops: [B,V,H,W,C], normalized.

    Returns:
        float32 [B,K].
    """
    batch, views, *shape = crops.shape
    flat = crops.reshape(batch * views, *shape)
    # Next to each other and not one after the other, so that a device keeps the views of its own images.
    both = jnp.stack([flat, mirror(flat)], axis=1).reshape(2 * batch * views, *shape)
    return log_mean_scores(apply(variables, both).reshape(batch, 2 * views, -1))


def of_mirror_images(apply: Apply, variables: Any, images: jax.Array) -> jax.Array:
    """Return the log of the mean scores of images [B,H,W,C] and their mirror images: float32 [B,K]."""
    return of_crops_and_mirror_images(apply, variables, images[:, None])


def build_apply(model: nn.Module, views: str) -> Callable[[Any, jax.Array], jax.Array]:
    """Return the function (variables, images [B,H,W,3]) -> logits [B,K], averaged over views of each image."""

    def apply(variables: Any, images: jax.Array) -> jax.Array:
        return averaged_logits(lambda x: model.apply(variables, x, train=False), images, views)

    return apply
