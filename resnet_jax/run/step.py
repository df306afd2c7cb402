"""The training step as the device is given it: one at a time, or many in one call.

Where the device holds the images a step needs their indices alone, and those of many steps travel at once. What the
host does for a step (some tenths of a millisecond), and the launch of its many arrays, are then done once a call.
"""

from collections.abc import Callable, Iterable, Iterator

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from resnet_jax.data.pipeline import to_device
from resnet_jax.errors import InputError
from resnet_jax.run.build import Run
from resnet_jax.run.state import places
from resnet_jax.runtime.batch import Batch
from resnet_jax.runtime.sharding import replicated, sharded
from resnet_jax.training.metrics import Sums, add_sums
from resnet_jax.training.state import TrainState
from resnet_jax.training.step import train_step


def single_step(run: Run) -> Callable[[TrainState, Sums, Batch], tuple[TrainState, Sums]]:
    """One step, uncompiled: (state, sums so far, fed batch) -> the next of both."""
    key = jax.random.key(run.config.seed)

    def one(state: TrainState, sums: Sums, batch: Batch) -> tuple[TrainState, Sums]:
        state, new = train_step(
            state,
            run.training.prepare(batch, state.step),
            model=run.model,
            tx=run.tx,
            key=key,
            loss=run.loss,
            aux_weight=getattr(run.model, "aux_weight", 0.0),
            micro_batches=run.config.accumulate,
            group_size=max(1, run.config.bn_group_size),
            ema=run.average,
            fsdp_mesh=run.mesh if run.config.fsdp else None,
        )
        return state, add_sums(sums, new)

    return one


def build_train_step(run: Run) -> jax.stages.Wrapped:
    """The compiled training step: (state, sums so far, fed batch) -> the next of both; the state is donated."""
    return jax.jit(single_step(run), donate_argnums=0, out_shardings=(places(run), replicated(run.mesh)))


def check_steps_per_call(run: Run) -> Run:
    """The run, if its calls can have as many steps as it asks for.

    Raises:
        InputError: they cannot: its images are fed batch by batch.
    """
    if run.config.steps_per_call > 1 and run.training.requests is None:
        raise InputError(
            f"--steps_per_call={run.config.steps_per_call} needs images that the devices hold: digits or CIFAR, "
            "without --auto_augment, --color_jitter, --lighting and --progressive; take --steps_per_call=1"
        )
    return run


def chunked_batches(run: Run, spans: Iterable[range]) -> Iterator[Batch]:
    """What the program of `build_train_chunk` is fed: for each span, all that its steps need.

    Args:
        run: of a set that the devices hold.
        spans: consecutive steps, from 0; at most `steps_per_call` each.

    Returns:
        {"steps": how many, "requests": a dict of arrays [steps_per_call,B] whose rows are the steps' requests, and
        what all steps share}.
    """
    length, requests = run.config.steps_per_call, run.training.requests
    assert requests is not None, "see check_steps_per_call"
    stacks = (stacked(requests(span.start, span.stop), length) for span in spans)
    # As single batches lie on the devices: divided by examples, each device having its part of every step.
    lying = NamedSharding(run.mesh, PartitionSpec(None, *sharded(run.mesh).spec))
    for stack in to_device(stacks, lying):
        yield {"steps": stack.pop("steps"), "requests": stack, **run.training.held}


def stacked(requests: Iterable[dict[str, np.ndarray]], length: int) -> Batch:
    """At most `length` requests as one: {"steps": how many they are, and of each array [b] one [length,b]}.

    Rows that belong to no step are 0: all calls have one shape, and so one program.
    """
    rows = list(requests)
    empty = {name: np.zeros_like(row) for name, row in rows[0].items()}
    filled = [*rows, *[empty] * (length - len(rows))]
    return {"steps": len(rows), **{name: np.stack([row[name] for row in filled]) for name in empty}}


def build_train_chunk(run: Run) -> jax.stages.Wrapped:
    """Compile several steps as one program: (state, sums, one of `chunked_batches`) -> (state, sums).

    The state is donated.

    There is one program, and how many steps are made is an argument of it: where calls end early for a log line or an
    evaluation, their lengths are many.
    """
    one_step = single_step(run)

    def train_call(state: TrainState, sums: Sums, call: Batch) -> tuple[TrainState, Sums]:
        shared = {name: value for name, value in call.items() if name not in ("steps", "requests")}

        def one(number: jax.Array, carry: tuple[TrainState, Sums]) -> tuple[TrainState, Sums]:
            request = {name: rows[number] for name, rows in call["requests"].items()}
            return one_step(*carry, {**shared, "request": request})

        return jax.lax.fori_loop(0, call["steps"], one, (state, sums))

    return jax.jit(train_call, donate_argnums=0, out_shardings=(places(run), replicated(run.mesh)))
