import jax
import jax.numpy as jnp

from resnet_jax.runtime.batch import Batch

Sums = dict[str, jax.Array]


NO_STEP = jnp.iinfo(jnp.int32).max


SUMMED = ("loss", "top1", "top5", "count")


def zero_sums() -> Sums:
    """The empty sums: what a log interval starts from."""
    zeros = {name: jnp.zeros((), jnp.float32) for name in SUMMED}
    return zeros | {"first_bad_step": jnp.full((), NO_STEP, jnp.int32)}


def add_sums(a: Sums, b: Sums) -> Sums:
    """Sums of two disjoint sets of examples, from the sums of each."""
    total = {name: a[name] + b[name] for name in SUMMED}
    return total | {"first_bad_step": jnp.minimum(a["first_bad_step"], b["first_bad_step"])}


def classification_sums(logits: jax.Array, batch: Batch, loss: jax.Array) -> Sums:
    """Sums over a batch's counted examples of the loss and of the hits in the first one and the first five classes."""
    rank = label_rank(logits, batch["label"])
    mask = batch["mask"]
    return zero_sums() | {
        "loss": (loss * mask).sum(),
        "top1": ((rank < 1) * mask).sum(),
        "top5": ((rank < 5) * mask).sum(),
        "count": mask.sum(),
    }


def label_rank(logits: jax.Array, label: jax.Array) -> jax.Array:
    """How many classes stand before the label's in the order of the logits [B,K]: int32 [B].

    Of equal logits the lower class stands first, as in `jax.lax.top_k`; which XLA does not divide over devices, so that
    each would be sent the logits of the whole batch. NaN stands before all others, but a label's own behind them.
    """
    classes = jnp.arange(logits.shape[-1])[None]
    own = classes == label[:, None]
    value = jnp.where(own, logits, 0).sum(axis=-1, keepdims=True)
    before = ~(logits <= value) | ((logits == value) & (classes < label[:, None]))
    return (before & ~own).sum(axis=-1)


def mean_metrics(sums: Sums) -> dict[str, float]:
    """Loss in nats and accuracies in [0, 1] over `num_examples`, as Python numbers: the one transfer to the host."""
    host = jax.device_get(sums)
    count = float(host["count"])
    return {name: float(host[name]) / count for name in ("loss", "top1", "top5")} | {"num_examples": round(count)}
