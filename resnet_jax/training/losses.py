"""Losses, one value an example: softmax or binary cross-entropy of hard or mixed targets, and distillation."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from resnet_jax.runtime.batch import Batch

Loss = Callable[[jax.Array, Batch], jax.Array]  # float32 logits [B,K], batch -> [B]


def smoothed_target(batch: Batch, num_classes: int, smoothing: float = 0.0) -> jax.Array:
    """Return the target distributions [B,K] over classes of a batch.

    Args:
        batch: "target" float32 [B,K] where examples were mixed, or else "label" int32 [B].
        num_classes: K.
        smoothing: share of the target that is spread evenly over all K classes (Szegedy et al. 2016). Smoothing is
            linear: to smooth a mixture is to mix the smoothed.
    """
    target = batch["target"] if "target" in batch else jax.nn.one_hot(batch["label"], num_classes)
    return target * (1.0 - smoothing) + smoothing / num_classes


def cross_entropy(logits: jax.Array, batch: Batch, smoothing: float = 0.0) -> jax.Array:
    """Return the softmax cross-entropy [B] in nats of logits [B,K] against a batch's targets, in float32."""
    target = smoothed_target(batch, logits.shape[-1], smoothing)
    return optax.softmax_cross_entropy(logits.astype(jnp.float32), target)


def binary_cross_entropy(
    logits: jax.Array, batch: Batch, smoothing: float = 0.0, threshold: float | None = None
) -> jax.Array:
    """Return the binary cross-entropy [B], averaged over the K classes (Beyer et al. 2020; Wightman et al. 2021).

    Args:
        logits: [B,K].
        batch: with targets.
        smoothing: as in `smoothed_target`.
        threshold: targets above it count as 1 and the others as 0, so that both classes of a mixture are
            full targets (timm's `bce_target_thresh`); None leaves the mixture's shares.
    """
    target = smoothed_target(batch, logits.shape[-1], smoothing)
    if threshold is not None:
        target = (target > threshold).astype(jnp.float32)
    return optax.sigmoid_binary_cross_entropy(logits.astype(jnp.float32), target).mean(axis=-1)


def distillation(logits: jax.Array, teacher: jax.Array, temperature: float) -> jax.Array:
    """Return the divergence of a network's predictions from its teacher's, [B] in nats.

    Args:
        logits: [B,K].
        teacher: the teacher's logits [B,K], which get no gradient.
        temperature: T > 0: the divergence of the two distributions softened by T, times T squared so that its gradient
            does not depend on T (Hinton et al. 2015). 0: cross-entropy against the teacher's best class (DeiT's hard
            distillation, Touvron et al. 2021).
    """
    teacher = jax.lax.stop_gradient(teacher.astype(jnp.float32))
    logits = logits.astype(jnp.float32)
    if not temperature:
        return optax.softmax_cross_entropy_with_integer_labels(logits, teacher.argmax(axis=-1))
    soft, target = (jax.nn.log_softmax(x / temperature) for x in (logits, teacher))
    return temperature**2 * optax.kl_divergence(soft, jnp.exp(target))


def balanced_weights(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the weight of each class in inverse proportion to its examples: float32 [K], 1 on average over them.

    Args:
        labels: int32 [N], of the training set.
        num_classes: K; classes without examples have weight 0.
    """
    counts = np.bincount(labels, minlength=num_classes)
    present = counts > 0
    return np.where(present, len(labels) / (present.sum() * np.maximum(counts, 1)), 0).astype(np.float32)


def make_loss(
    kind: str = "cross_entropy",
    *,
    smoothing: float = 0.0,
    threshold: float | None = None,
    distill_weight: float = 0.0,
    temperature: float = 1.0,
    class_weights: np.ndarray | None = None,
) -> Loss:
    """Return the loss of a training: (logits [B,K], batch) -> [B].

    Args:
        kind: "cross_entropy" or "binary_cross_entropy".
        smoothing: of the targets.
        threshold: of binary cross-entropy.
        distill_weight: share of the distillation, in [0, 1], where the batch has the "teacher"'s logits.
        temperature: of the distillation.
        class_weights: float32 [K], factors of an example's whole loss by its class; of mixed examples, their mean.

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in ("cross_entropy", "binary_cross_entropy"):
        raise ValueError(f"there is no loss {kind!r}")

    def loss(logits: jax.Array, batch: Batch) -> jax.Array:
        if kind == "cross_entropy":
            losses = cross_entropy(logits, batch, smoothing)
        else:
            losses = binary_cross_entropy(logits, batch, smoothing, threshold)
        if "teacher" in batch:
            teacher_loss = distillation(logits, batch["teacher"], temperature)
            losses = (1.0 - distill_weight) * losses + distill_weight * teacher_loss
        if class_weights is not None:
            losses *= (smoothed_target(batch, logits.shape[-1]) * class_weights[None]).sum(axis=-1)
        return losses

    return loss
