"""The state of a run: its first values, its sharding, and the content of a checkpoint."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from resnet_jax.errors import InputError
from resnet_jax.layers.whitening import whitening_kernel
from resnet_jax.models.resnet.scan import stack_scan_groups, unstack_scan_groups
from resnet_jax.run.build import Run
from resnet_jax.runtime.sharding import replicated, state_shardings
from resnet_jax.training.metrics import Sums
from resnet_jax.training.state import (
    TrainState,
    abstract_checkpoint,
    create_train_state,
    init_train_state,
    start_from,
)
from resnet_jax.workdir import checkpoint
from resnet_jax.workdir.folder import check_may_begin

# airbench computes its first layer from this many images.
WHITENING_IMAGES = 5000


def first_state(run: Run) -> TrainState:
    """Return the state before the first step: scan groups stacked, layers that are computed from images set."""
    if run.initial is not None:
        return initial_state(run)
    assert not run.config.init_from, "a run that starts from weights has them"
    state = init_train_state(
        run.model,
        run.optimizer.tx,
        run.data.image_size,
        run.config.seed,
        run.mesh,
        with_ema=run.optimizer.ema is not None,
        layout=partial(stack_scan_groups, groups=run.scan_groups) if run.scan_groups else None,
        fsdp=run.config.fsdp,
    )
    return whitened(run, state)


def initial_state(run: Run) -> TrainState:
    """Return the state that starts from the run's own variables."""
    variables = jax.tree.map(jnp.asarray, run.initial)
    state = start_from(variables, run.optimizer.tx, with_ema=run.optimizer.ema is not None)
    return jax.device_put(stack_scan_groups(state, run.scan_groups), state_sharding(run))


def whitened(run: Run, state: TrainState) -> TrainState:
    """Return the first state with the layers that are computed from training images, of networks that have some."""
    whiten = getattr(run.model, "whiten", None)
    if whiten is None:
        return state
    variables = whiten(state.variables, run.data.plain_images(WHITENING_IMAGES))
    variables = jax.device_put(variables, replicated(run.mesh))
    ema = jax.tree.map(jnp.copy, variables) if run.optimizer.ema else {}
    return jax.device_put(dataclasses.replace(state, **variables, ema=ema), state_sharding(run))


def check_whitening(run: Run) -> None:
    """Refuse training images that a whitening layer cannot be computed from, before the run's folder is taken.

    That of weights to start from stays.

    Raises:
        InputError: they have no color.
    """
    if hasattr(run.model, "whiten") and not run.config.init_from:
        whitening_kernel(run.data.plain_images(WHITENING_IMAGES))


def state_sharding(run: Run) -> Any:
    """Return the sharding of a run's state in training: replicated, or with --fsdp a tree of shardings."""
    if not run.config.fsdp:
        return replicated(run.mesh)
    with_ema = run.optimizer.ema is not None
    fresh = partial(create_train_state, run.model, run.optimizer.tx, run.data.image_size, with_ema=with_ema)
    shapes = jax.eval_shape(lambda: stack_scan_groups(fresh(jax.random.key(0)), run.scan_groups))
    return state_shardings(shapes, run.mesh, fsdp=True)


def checkpoint_content(run: Run, state: TrainState, sums: Sums) -> dict[str, Any]:
    """Return the content of a checkpoint, in which every block stands by itself, however the network was compiled."""
    return {"state": unstack_scan_groups(state, run.scan_groups), "sums": sums}


def checkpoint_shapes(run: Run) -> dict[str, Any]:
    """Return shapes, types and shardings of a checkpoint's content."""
    with_ema, fsdp = run.optimizer.ema is not None, run.config.fsdp
    return abstract_checkpoint(
        run.model, run.optimizer.tx, run.data.image_size, run.mesh, run.task.zero_sums, with_ema=with_ema, fsdp=fsdp
    )


def restore_or_init(run: Run, manager: Any, report: Callable[[str], None]) -> tuple[int, TrainState, Sums]:
    """Return steps done, state and unlogged sums: of the newest good checkpoint, or before the first step.

    Args:
        run: the run.
        manager: of its checkpoints.
        report: receives a line for every damaged checkpoint, and one with the step after which the run continues.

    Raises:
        InputError: every checkpoint is damaged, or lost, or the newest lies behind the end of the training.
    """
    restored = checkpoint.restore_newest(manager, checkpoint_shapes(run), report)
    if restored is None:
        check_may_begin(Path(manager.directory).parent, third_save(run))
        return 0, first_state(run), jax.jit(run.task.zero_sums, out_shardings=replicated(run.mesh))()
    step, content = restored
    check_own_step(f"{manager.directory}/{step}", step, content["state"])
    if step > run.total_steps:
        raise InputError(
            f"checkpoint {manager.directory}/{step} lies behind the last step of this training, {run.total_steps:,}; "
            "name another --workdir"
        )
    report(f"continuing after step {step:,}")
    state = jax.device_put(stack_scan_groups(content["state"], run.scan_groups), state_sharding(run))
    return step, state, content["sums"]


def third_save(run: Run) -> int:
    """Return the step of the third checkpoint of a run, at the latest."""
    # An epoch may be less than a step, after which one is saved.
    return math.ceil(3 * max(1, min(run.checkpoint_every, run.eval_every)))


def check_own_step(name: str, step: int, state: TrainState) -> None:
    """Refuse a checkpoint whose folder has the name of another step than its state.

    Raises:
        InputError: it does.
    """
    if int(state.step) != step:
        raise InputError(f"checkpoint {name} holds the state after step {int(state.step)}; give it back that name")
