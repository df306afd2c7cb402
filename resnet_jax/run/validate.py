"""Evaluation of a run on its test set during training."""

from collections.abc import Callable
from functools import partial
from itertools import takewhile

import jax

from resnet_jax.data.decode import UnreadableImage
from resnet_jax.inference.tta import build_apply
from resnet_jax.run.build import Run
from resnet_jax.run.record import position
from resnet_jax.run.step import compiler_options
from resnet_jax.runtime.memory import memory_remedy
from resnet_jax.runtime.sharding import replicated
from resnet_jax.training import loop
from resnet_jax.training.progress import Progress
from resnet_jax.training.state import TrainState
from resnet_jax.training.step import jit_eval_step
from resnet_jax.workdir.metrics_log import Row

Validate = Callable[[int, TrainState], Row | None]


def build_validation(run: Run, progress: Progress, stop_requested: Callable[[int], bool]) -> Validate:
    """Compile the evaluation of a run on its test set.

    Args:
        run: the run.
        progress: is paused meanwhile.
        stop_requested: step -> whether a signal asked the run to stop.

    Returns:
        (step, state) -> the row for the log: loss in nats, accuracies as fractions, `num_examples`, and with an EMA its
        own values as "ema_…". None where a signal cut it short. It raises an UnreadableImage of the first one.
    """
    apply = build_apply(run.model, run.config.eval_views)
    task, whole = run.task, replicated(run.mesh)
    eval_step = jit_eval_step(
        apply,
        run.data.test.prepare,
        whole,
        compiler_options(run.config),
        loss=task.eval_loss,
        sums_of=task.eval_sums,
    )
    # One program: with an all-gather for each array, processes could come to them in different orders.
    all_gather = jax.jit(lambda tree: tree, out_shardings=whole)
    # Several processes can stop together only, after a step; a single one may leave an evaluation.
    alone = jax.process_count() == 1

    def validate(step: int, state: TrainState) -> Row | None:
        weights = {"": state.variables}
        if state.ema and not run.config.lookahead:  # Lookahead sets the weights to their average
            weights["ema_"] = state.ema
        row = position(run, step, "eval")
        with progress.paused(), memory_remedy(lambda: "take a smaller --eval_batch_size"):
            batches = takewhile(lambda _: not (alone and stop_requested(step)), run.data.test.batches())
            whole_weights = all_gather(weights) if run.config.fsdp else weights
            steps = [partial(eval_step, whole_weights[prefix]) for prefix in weights]
            try:
                sums_of = loop.sum_batches_each(batches, steps)  # reading and decoding take longer than the network
            except UnreadableImage as error:
                raise error.with_resume_hint() from error
            if float(sums_of[0]["count"]) < run.data.num_test:
                return None
            for prefix, sums in zip(weights, sums_of, strict=True):
                metrics = task.metrics(sums)
                row |= {prefix + n: value for n, value in metrics.items() if not prefix or n in task.averaged}
        return row

    return validate
