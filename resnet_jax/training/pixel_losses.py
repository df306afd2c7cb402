"""Losses of dense prediction, one value an image: cross-entropy, Dice, their sum, and focal; pixels may be ignored.

Labels are those of `pixel_metrics`: classes that exclude each other, or 0 and 1 for each of K.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from resnet_jax.errors import InputError
from resnet_jax.runtime.batch import IGNORE, Batch
from resnet_jax.training.losses import Loss

PIXEL_LOSSES = ("cross_entropy", "dice", "entropy_and_dice", "focal")
FOCUS = 2.0  # gamma of Lin et al. 2017, arXiv:1708.02002
SMOOTH = 1.0  # pixels that Dice adds to both sides: a class that an image lacks has no 0 / 0


def make_pixel_loss(
    kind: str = "cross_entropy",
    *,
    binary: bool = False,
    smoothing: float = 0.0,
    class_weights: np.ndarray | None = None,
) -> Loss:
    """Return the loss of a training: (logits [B,H,W,K], batch) -> [B], of an image without counted pixels 0.

    Args:
        kind: one of PIXEL_LOSSES. Cross-entropy and focal loss are means over an image's counted pixels (and the
            classes, where they do not exclude each other), Dice is a mean over classes.
        binary: labels are 0 or 1 for each class.
        smoothing: of the targets of cross-entropy.
        class_weights: float32 [K], factors of a pixel's cross-entropy or focal loss by its class, and of a class's
            Dice; where classes overlap, of all that is said of a class. A single class has weight 1.

    Raises:
        InputError: an unknown kind.
    """
    if kind not in PIXEL_LOSSES:
        raise InputError(f"--loss={kind} is not for masks; take one of {', '.join(PIXEL_LOSSES)}")
    weights = None if class_weights is None else jnp.asarray(class_weights).reshape(1, 1, 1, -1)

    def loss(logits: jax.Array, batch: Batch) -> jax.Array:
        logits = logits.astype(jnp.float32)
        target, valid = targets_of(batch["label"], logits.shape[-1], binary=binary)
        total = jnp.zeros(logits.shape[0])
        if kind != "dice":
            each = binary_pixels if binary else exclusive_pixels
            losses = each(logits, target, smoothing, FOCUS if kind == "focal" else 0.0)
            if weights is not None:  # where classes overlap, a pixel without a class counts as much as one with it
                losses *= weights if binary else (target * weights).sum(axis=-1, keepdims=True)
            total += (losses * valid).sum(axis=(1, 2, 3)) / jnp.maximum(valid.sum(axis=(1, 2, 3)), 1)
        if kind in ("dice", "entropy_and_dice"):
            probabilities = jax.nn.sigmoid(logits) if binary else jax.nn.softmax(logits)
            total += dice(probabilities * valid, target * valid, weights)
        return total

    return loss


def targets_of(label: jax.Array, num_classes: int, *, binary: bool) -> tuple[jax.Array, jax.Array]:
    """Return the targets float32 [B,H,W,K] of labels, and which pixels count, float32 [B,H,W,1] or [B,H,W,K]."""
    if binary:
        return (label == 1).astype(jnp.float32), (label != IGNORE).astype(jnp.float32)
    return jax.nn.one_hot(label, num_classes), (label != IGNORE).astype(jnp.float32)[..., None]


def exclusive_pixels(logits: jax.Array, target: jax.Array, smoothing: float, focus: float) -> jax.Array:
    """Return the softmax cross-entropy of each pixel, [B,H,W,1], times (1 - p)^focus of its class's probability p."""
    log_p = jax.nn.log_softmax(logits)
    smooth = target * (1 - smoothing) + smoothing / logits.shape[-1]
    losses = -(smooth * log_p).sum(axis=-1, keepdims=True)
    if focus:
        losses *= (1 - jnp.exp((target * log_p).sum(axis=-1, keepdims=True))) ** focus
    return losses


def binary_pixels(logits: jax.Array, target: jax.Array, smoothing: float, focus: float) -> jax.Array:
    """Return the sigmoid cross-entropy of each pixel and class, [B,H,W,K], in focal loss with its factor."""
    if focus:
        return optax.losses.sigmoid_focal_loss(logits, target, gamma=focus)
    return optax.losses.sigmoid_binary_cross_entropy(logits, target * (1 - smoothing) + smoothing / 2)


def dice(probabilities: jax.Array, target: jax.Array, weights: jax.Array | None) -> jax.Array:
    """Return 1 minus the soft Dice coefficient, averaged over classes (Milletari et al. 2016): [B,H,W,K] -> [B].

    `optax.losses.dice_loss` is the same where all pixels count; it cannot leave some out.
    """
    overlap, total = ((x).sum(axis=(1, 2)) for x in (probabilities * target, probabilities + target))
    losses = 1 - (2 * overlap + 2 * SMOOTH) / (total + 2 * SMOOTH)
    return losses.mean(axis=-1) if weights is None else (losses * weights[0, 0]).sum(axis=-1) / weights.sum()


def class_weights_of(kind: str, pixels: np.ndarray, beside: np.ndarray, *, binary: bool = False) -> np.ndarray | None:
    """Return the weight of each class, float32 [K], 1 on average over the training set's pixels; None: all alike.

    Args:
        kind: "" for None; "balanced": in inverse proportion to a class's pixels; "median_frequency" (Eigen and Fergus
            2015, arXiv:1411.4734): to its share of the pixels of the images that it is in; "log_frequency" (ENet,
            Paszke et al. 2016, arXiv:1606.02147): to ln(1.02 + its share of all pixels), milder with rare classes.
        pixels: int64 [K], of each class.
        beside: int64 [K], counted pixels of the images that have the class.
        binary: classes may overlap: one without pixels learns that it is nowhere, with a weight of 1. Where classes
            exclude each other its weight, 0, is never used.
    """
    if not (kind and pixels.sum()):
        return None
    share = pixels / np.maximum(beside if kind == "median_frequency" else pixels.sum(), 1)
    rarity = np.log(1.02 + share) if kind == "log_frequency" else np.maximum(share, 1e-12)
    weights = np.where(pixels > 0, 1 / rarity, 0)
    weights *= pixels.sum() / (weights * pixels).sum()
    return np.where(pixels > 0, weights, 1.0 if binary else 0.0).astype(np.float32)
