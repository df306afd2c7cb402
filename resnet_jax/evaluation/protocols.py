"""What a network says of an image that it is shown several times, as one distribution over the classes.

He et al. 2015 average the scores, the softmax of the logits, over ten crops or over scales. The logarithm of that mean
is a logit like any other: its softmax is the mean itself, so that loss and accuracy are computed from it as ever. (The
views of `views.py` average the logits instead, as their own sources do.)
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from resnet_jax.evaluation.views import mirror

Apply = Callable[[Any, jax.Array], jax.Array]  # (variables, images [B,H,W,C]) -> logits [B,K]

# The paper's Table 4 and section 4.1: shorter sides of the whole image, pixels.
SCALES = (224, 256, 384, 480, 640)


def log_mean_scores(logits: jax.Array) -> jax.Array:
    """Logarithm of the mean over V views of the softmax of logits [B,V,K]: float32 [B,K], free of underflow."""
    scores = jax.nn.log_softmax(logits.astype(jnp.float32))
    return jax.nn.logsumexp(scores, axis=1) - jnp.log(float(logits.shape[1]))


def of_crops_and_mirror_images(apply: Apply, variables: Any, crops: jax.Array) -> jax.Array:
    """Log of the mean scores of V crops of each image and of their mirror images.

    The network sees 2 V B images at once: one call, and one network to compile.

    Args:
        apply: the network.
        variables: its variables.
        crops: [B,V,H,W,C], normalised.

    Returns:
        float32 [B,K].
    """
    batch, views, *shape = crops.shape
    flat = crops.reshape(batch * views, *shape)
    # Next to each other and not one after the other, so that a device keeps the views of its own images.
    both = jnp.stack([flat, mirror(flat)], axis=1).reshape(2 * batch * views, *shape)
    return log_mean_scores(apply(variables, both).reshape(batch, 2 * views, -1))


def of_mirror_images(apply: Apply, variables: Any, images: jax.Array) -> jax.Array:
    """Log of the mean scores of images [B,H,W,C] and their mirror images: float32 [B,K]."""
    return of_crops_and_mirror_images(apply, variables, images[:, None])
