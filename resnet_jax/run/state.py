"""The state of a training run: its first values, where its arrays lie, and what a checkpoint holds of it."""

from functools import partial
from typing import Any

import jax

from resnet_jax.models.resnet.scan import stack_scan_groups, unstack_scan_groups
from resnet_jax.run.build import Run
from resnet_jax.runtime.sharding import replicated, state_shardings
from resnet_jax.training.state import TrainState, create_train_state, init_train_state


def first_state(run: Run) -> TrainState:
    """The state before the first step, in the form that is trained: loops stacked."""
    return init_train_state(
        run.model,
        run.tx,
        run.image_size,
        run.config.seed,
        run.mesh,
        with_ema=run.average is not None,
        layout=partial(stack_scan_groups, groups=run.scan_groups) if run.scan_groups else None,
        fsdp=run.config.fsdp,
    )


def places(run: Run) -> Any:
    """Where the arrays of a run's state lie in training: on every device, or with --fsdp a tree of shardings."""
    if not run.config.fsdp:
        return replicated(run.mesh)
    fresh = partial(create_train_state, run.model, run.tx, run.image_size, 0, with_ema=run.average is not None)
    shapes = jax.eval_shape(lambda: stack_scan_groups(fresh(), run.scan_groups))
    return state_shardings(shapes, run.mesh, fsdp=True)


def stored(run: Run, carry: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's content, of {"state", "sums"} as they are trained: block by block, however that was compiled."""
    return {"state": unstack_scan_groups(carry["state"], run.scan_groups), "sums": carry["sums"]}
