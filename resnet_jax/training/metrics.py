"""Metrics as sums over examples, which are added over batches and divided by the count at the end."""

from typing import Any

import jax
import jax.numpy as jnp

from resnet_jax.runtime.batch import Batch

# Sums over examples by name: float32 scalars "loss" and "count", int32 "first_bad_step", and what the task adds.
Sums = dict[str, jax.Array]
NO_STEP = jnp.iinfo(jnp.int32).max  # the value of "first_bad_step" while all steps are finite


def zero_sums() -> Sums:
    """Return the sums over no examples of a classifier, with which a log interval starts."""
    zeros = {name: jnp.zeros((), jnp.float32) for name in ("loss", "top1", "top5", "count")}
    return zeros | no_bad_step()


def zeros_like_sums(sums: Sums) -> Sums:
    """Return the sums over no examples of the task that these sums are of."""
    return {name: jnp.zeros_like(value) for name, value in sums.items()} | no_bad_step()


def no_bad_step() -> Sums:
    """Return the "first_bad_step" of steps that were all finite."""
    return {"first_bad_step": jnp.full((), NO_STEP, jnp.int32)}


def add_sums(a: Sums, b: Sums) -> Sums:
    """Merge the sums of two disjoint sets of examples."""
    total = {name: a[name] + b[name] for name in a if name not in ("first_bad_step", "pixels")}
    if "pixels" in a:
        total["pixels"] = add_counts(a["pixels"], b["pixels"])
    return total | {"first_bad_step": jnp.minimum(a["first_bad_step"], b["first_bad_step"])}


def add_counts(a: jax.Array, b: jax.Array) -> jax.Array:
    """Add counts of pixels, int32 [2,…]: the part below 2^30, and how often 2^30 is in them; exact to 2^60."""
    low = a[0] + b[0]
    return jnp.stack([low & (2**30 - 1), a[1] + b[1] + (low >> 30)])


def all_finite(tree: Any) -> jax.Array:
    """Return whether all values of the tree are finite: a boolean scalar."""
    floats = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in floats]).all()


def classification_sums(logits: jax.Array, batch: Batch, loss: jax.Array) -> Sums:
    """Return the sums over a batch's counted examples of the loss and of top-1 and top-5 hits."""
    rank = label_rank(logits, batch["label"])
    mask = batch["mask"]
    return zero_sums() | {
        "loss": (loss * mask).sum(),
        "top1": ((rank < 1) * mask).sum(),
        "top5": ((rank < 5) * mask).sum(),
        "count": mask.sum(),
    }


def label_rank(logits: jax.Array, label: jax.Array) -> jax.Array:
    """Return how many classes come before the label's in the order of the logits [B,K]: int32 [B].

    Of equal logits the lower class comes first, as in `jax.lax.top_k`, which XLA does not shard: each device would get
    the logits of the whole batch. NaN comes before all others, but a label's own after them.
    """
    classes = jnp.arange(logits.shape[-1])[None]
    own = classes == label[:, None]
    value = jnp.where(own, logits, 0).sum(axis=-1, keepdims=True)
    before = ~(logits <= value) | ((logits == value) & (classes < label[:, None]))
    return (before & ~own).sum(axis=-1)


def mean_metrics(sums: Sums) -> dict[str, float]:
    """Compute loss in nats and accuracies in [0, 1] over `num_examples`, as Python numbers, in one transfer."""
    host = jax.device_get(sums)
    count = float(host["count"])
    return {name: float(host[name]) / count for name in ("loss", "top1", "top5")} | {"num_examples": round(count)}
