"""One step of training and one of evaluation: pure functions, which `jax.jit` partitions over the devices."""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax
from jax.lax import stop_gradient
from jax.sharding import Mesh

from resnet_jax.optim.ema import Ema
from resnet_jax.optim.freeze import IsFrozen
from resnet_jax.optim.param_paths import map_with_path
from resnet_jax.runtime.batch import Batch, batch_of_stack
from resnet_jax.runtime.sharding import all_gather, reduce_scatter
from resnet_jax.training.accumulate import accumulate_gradients
from resnet_jax.training.losses import Loss, cross_entropy
from resnet_jax.training.metrics import NO_STEP, Sums, add_sums, all_finite, classification_sums, zeros_like_sums
from resnet_jax.training.state import TrainState

SumsOf = Callable[[jax.Array, Batch, jax.Array], Sums]  # (logits, batch, loss of each example) -> its sums


class Applicable(Protocol):
    """A network, or what is applied like one."""

    def apply(self, variables: Any, images: Any, /, **settings: Any) -> Any:
        """Return the outputs for images [B,H,W,3], and the updated statistics."""


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    model: Applicable,
    tx: optax.GradientTransformation,
    key: jax.Array,
    loss: Loss = cross_entropy,
    sums_of: SumsOf = classification_sums,
    aux_weight: float = 0.0,
    micro_batches: int = 1,
    group_size: int = 1,
    ema: Ema | None = None,
    fsdp_mesh: Mesh | None = None,
    is_frozen: IsFrozen | None = None,
) -> tuple[TrainState, Sums]:
    """Train on one batch; return the next state and the batch's metric sums.

    `first_bad_step` of the sums is this step's number (from 1) if its loss or a new parameter is not finite; a gradient
    that is not finite makes its parameter so. A finite loss alone proves nothing: XLA:CPU computes 0 for the mean of
    relu(NaN), which is the input of this network's head. The rest of the state is looked at before it is logged or
    saved (`loop.check_finite`): to look at all of it, and the gradients, was over half of a step's reductions.

    Args:
        state: before the step.
        batch: preprocessed.
        model: the network, or what is applied like one.
        tx: the optimizer.
        key: of dropout and stochastic depth; the step is folded in.
        loss: (logits, batch) -> [B]; its mean over the counted examples is minimized.
        sums_of: (logits, batch, losses [B]) -> the batch's sums.
        aux_weight: weight of the losses of auxiliary heads, the model's features "aux1", "aux2", …; the sums are the
            main head's alone.
        micro_batches: parts of the batch that are computed one after the other, to save memory.
        group_size: examples that are normalized together; a micro-batch holds whole groups, and then gradients and
            statistics are those of the whole batch.
        ema: how `state.ema` is updated; None leaves it.
        fsdp_mesh: the devices over which the state is sharded by `state_shardings`; None: it is replicated.
        is_frozen: path of a parameter -> it gets no gradient, and none is computed for it; None: all learn.
    """
    count = batch["mask"].sum()
    step_key = jax.random.fold_in(key, state.step)
    params = state.params if fsdp_mesh is None else all_gather(state.params, fsdp_mesh)

    def loss_of(params: Any, part: Batch, number: jax.Array) -> tuple[jax.Array, tuple]:
        if is_frozen is not None:
            params = map_with_path(lambda path, leaf: stop_gradient(leaf) if is_frozen(path) else leaf, params)
        outputs, updates = model.apply(
            {"params": params, "batch_stats": state.batch_stats},
            part["image"],
            train=True,
            features=True,
            mutable=["batch_stats"],
            rngs={"dropout": jax.random.fold_in(step_key, number) if micro_batches > 1 else step_key},
        )
        logits = outputs["logits"]
        losses = loss(logits, part)
        auxiliary = [outputs[name] for name in sorted(outputs) if name.startswith("aux")] if aux_weight else []
        all_losses = losses + sum(aux_weight * loss(a, part) for a in auxiliary)
        share = (all_losses * part["mask"]).sum() / count
        return share, (sums_of(logits, part, losses), updates.get("batch_stats", {}))

    def gradients_of(part: Batch, number: jax.Array) -> tuple:
        outputs, gradients = jax.value_and_grad(loss_of, has_aux=True)(params, part, number)
        share, (sums, batch_stats) = outputs
        if fsdp_mesh is not None:
            gradients = reduce_scatter(gradients, fsdp_mesh)
        return (share, gradients, {n: s for n, s in sums.items() if n != "first_bad_step"}), batch_stats

    (mean, gradients, sums), batch_stats = accumulate_gradients(gradients_of, batch, micro_batches, group_size)
    update = optax.with_extra_args_support(tx).update
    updates, opt_state = update(gradients, state.opt_state, state.params, value=mean)  # for rates that fall on plateaus
    new_state = TrainState(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        batch_stats=batch_stats,
        opt_state=opt_state,
        ema=state.ema,
    )
    if ema is not None:
        new_ema, variables = ema.update(state.ema, new_state.variables, new_state.step)
        new_state = dataclasses.replace(new_state, ema=new_ema, **variables)
    finite = all_finite((mean, new_state.params))
    return new_state, sums | {"first_bad_step": jnp.where(finite, NO_STEP, new_state.step)}


def eval_step(
    variables: Any,
    batch: Batch,
    *,
    apply: Callable[[Any, jax.Array], jax.Array],
    loss: Loss = cross_entropy,
    sums_of: SumsOf = classification_sums,
) -> Sums:
    """Return the metric sums of one evaluation batch, of the logits `apply(variables, image)`."""
    logits = apply(variables, batch["image"])
    return sums_of(logits, batch, loss(logits, batch))


def jit_eval_step(
    apply: Callable[[Any, jax.Array], jax.Array],
    prepare: Callable[[Any], Batch],
    sharding: jax.sharding.Sharding,
    compiler_options: dict[str, Any] | None = None,
    *,
    loss: Loss = cross_entropy,
    sums_of: SumsOf = classification_sums,
) -> Callable[[Any, Any], Sums]:
    """Return `eval_step`, compiled at its first call, of (variables, loader's batch), which `prepare` preprocesses.

    Of a batch with "requests", several batches in one, it returns the sums over all.
    """

    def prepared_step(variables: Any, batch: Any) -> Sums:
        return eval_step(variables, prepare(batch), apply=apply, loss=loss, sums_of=sums_of)

    def one_or_several(variables: Any, batch: Any) -> Sums:
        if "requests" not in batch:
            return prepared_step(variables, batch)

        def sums_at(number: jax.Array) -> Sums:
            return prepared_step(variables, batch_of_stack(batch, number))

        none = zeros_like_sums(jax.eval_shape(sums_at, 0))
        return jax.lax.fori_loop(0, batch["steps"], lambda number, total: add_sums(total, sums_at(number)), none)

    return jax.jit(one_or_several, out_shardings=sharding, compiler_options=compiler_options)
