"""One step of training and one of evaluation: pure functions that `jax.jit` divides over whatever devices there are.

A batch is a dict of arrays whose first axis is B: "image" float32 [B,H,W,C], "label" int32 [B], and "mask" float32 [B],
1 for examples that count and 0 for padding.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from resnet_jax.training.state import TrainState

Batch = dict[str, jax.Array]
Sums = dict[str, jax.Array]

NO_STEP = jnp.iinfo(jnp.int32).max


def zero_sums() -> Sums:
    """The empty sums: what a log interval starts from."""
    zeros = {name: jnp.zeros((), jnp.float32) for name in ("loss", "top1", "top5", "count")}
    return zeros | {"first_bad_step": jnp.full((), NO_STEP, jnp.int32)}


def add_sums(a: Sums, b: Sums) -> Sums:
    """Sums of two disjoint sets of examples, from the sums of each."""
    total = {name: a[name] + b[name] for name in a if name != "first_bad_step"}
    return total | {"first_bad_step": jnp.minimum(a["first_bad_step"], b["first_bad_step"])}


def cross_entropy(logits: jax.Array, label: jax.Array, smoothing: float = 0.0) -> jax.Array:
    """Softmax cross-entropy [B] in nats of logits [B,K] against label [B], in float32.

    `smoothing` moves that share of the target evenly over all K classes (Szegedy et al. 2016).
    """
    target = jax.nn.one_hot(label, logits.shape[-1])
    target = target * (1.0 - smoothing) + smoothing / logits.shape[-1]
    return optax.softmax_cross_entropy(logits.astype(jnp.float32), target)


def classification_sums(logits: jax.Array, batch: Batch, loss: jax.Array) -> Sums:
    """Sums over a batch's counted examples of the loss and of the hits in the first one and the first five classes."""
    _, best = jax.lax.top_k(logits, min(5, logits.shape[-1]))
    hits = best == batch["label"][:, None]
    mask = batch["mask"]
    return zero_sums() | {
        "loss": (loss * mask).sum(),
        "top1": (hits[:, 0] * mask).sum(),
        "top5": (hits.any(axis=-1) * mask).sum(),
        "count": mask.sum(),
    }


def all_finite(tree: Any) -> jax.Array:
    """Whether no leaf of the tree holds a NaN or an infinity: a boolean scalar."""
    floats = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in floats]).all()


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    model: nn.Module,
    tx: optax.GradientTransformation,
    key: jax.Array,
    label_smoothing: float = 0.0,
    aux_weight: float = 0.0,
) -> tuple[TrainState, Sums]:
    """The state after one step, and the step's sums.

    With `aux_weight`, the cross-entropy of every auxiliary head, which the model gives among its features as "aux1",
    "aux2", …, is added to the loss with that weight; the sums are the main head's alone.

    `first_bad_step` of the sums is this step's number (from 1) if its loss, its gradient or the new state is not
    finite. All three are looked at, because a finite loss proves nothing: XLA on CPUs turns the mean of relu(NaN),
    which is this network's head, into 0.
    """

    def loss_of(params: Any) -> tuple[jax.Array, tuple]:
        outputs, updates = model.apply(
            {"params": params, "batch_stats": state.batch_stats},
            batch["image"],
            train=True,
            features=True,
            mutable=["batch_stats"],
            rngs={"dropout": jax.random.fold_in(key, state.step)},
        )
        logits = outputs["logits"]
        losses = cross_entropy(logits, batch["label"], label_smoothing)
        auxiliary = [outputs[name] for name in sorted(outputs) if name.startswith("aux")] if aux_weight else []
        all_losses = losses + sum(aux_weight * cross_entropy(a, batch["label"], label_smoothing) for a in auxiliary)
        mean = (all_losses * batch["mask"]).sum() / batch["mask"].sum()
        return mean, (logits, losses, updates.get("batch_stats", {}))

    (loss, (logits, losses, batch_stats)), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    updates, opt_state = tx.update(gradients, state.opt_state, state.params)
    new_state = TrainState(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        batch_stats=batch_stats,
        opt_state=opt_state,
    )
    sums = classification_sums(logits, batch, losses)
    finite = all_finite((loss, gradients, new_state))
    return new_state, sums | {"first_bad_step": jnp.where(finite, NO_STEP, new_state.step)}


def eval_step(variables: Any, batch: Batch, *, model: nn.Module) -> Sums:
    """The sums of one evaluation batch; running statistics are used and nothing is changed."""
    logits: Any = model.apply(variables, batch["image"], train=False)
    return classification_sums(logits, batch, cross_entropy(logits, batch["label"]))


def jit_eval_step(
    model: nn.Module, prepare: Callable[[Any], Batch], sharding: jax.sharding.Sharding
) -> Callable[[Any, Any], Sums]:
    """The compiled `eval_step` of (variables, fed batch); `prepare` makes the batch of what is fed."""

    def prepared_step(variables: Any, batch: Any) -> Sums:
        return eval_step(variables, prepare(batch), model=model)

    return jax.jit(prepared_step, out_shardings=sharding)


def averages(sums: Sums) -> dict[str, float]:
    """Loss in nats and accuracies in [0, 1] over `num_examples`, as Python numbers: the one transfer to the host."""
    host = jax.device_get(sums)
    count = float(host["count"])
    return {name: float(host[name]) / count for name in ("loss", "top1", "top5")} | {"num_examples": round(count)}
