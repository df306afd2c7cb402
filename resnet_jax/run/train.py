"""A training run from its config, from the first line to the result."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import jax

from resnet_jax.analysis.plots import draw_curves
from resnet_jax.config.checks import check_config
from resnet_jax.config.options import Config
from resnet_jax.ops.lowering import active_lowerings
from resnet_jax.run.agreement import check_same_config, check_same_data, check_same_state, compared
from resnet_jax.run.build import Run, build_run
from resnet_jax.run.distill import add_teacher
from resnet_jax.run.dry_run import dry_run
from resnet_jax.run.report import headline, interrupted, is_first_process, outcome, position, report_skipped, say_once
from resnet_jax.run.state import checkpoint_content, restore_or_init
from resnet_jax.run.step import build_train_step, step_batches
from resnet_jax.run.validate import build_validation
from resnet_jax.runtime.distributed import barrier, connect, stop_signal
from resnet_jax.runtime.ending import ending_together
from resnet_jax.runtime.watchdog import watchdog
from resnet_jax.training.loop import check_finite, due, training_steps
from resnet_jax.training.metrics import Sums, averages
from resnet_jax.training.progress import Progress
from resnet_jax.training.state import TrainState
from resnet_jax.workdir import checkpoint, folder
from resnet_jax.workdir.async_save import save_in_background
from resnet_jax.workdir.metrics_log import Row, best_step, open_log, read_rows


def train(config: Config) -> Row:
    """Train, or continue, the run of this config in its workdir; return the content of its result.json.

    With `dry_run`, only print and draw how settings would change over the training; return nothing then.

    Raises:
        InputError: something the user gave cannot be used.
        NonFiniteError: the training diverged.
        InterruptedRunError: a signal stopped it, and it was saved.
    """
    check_config(config)
    if config.dry_run:
        if config.process_id <= 0:
            dry_run(config)
        return {}
    connect(config.coordinator_address, config.num_processes, config.process_id, config.connect_timeout)
    workdir = Path(config.workdir).absolute()
    with ExitStack() as stack:
        stack.enter_context(ending_together(debug=config.debug))
        stack.enter_context(watchdog(config.stall_minutes))
        check_same_config(config)
        if is_first_process():
            stack.enter_context(folder.locked(workdir))
        folder.check_config_matches(workdir, config)
        if (result := folder.read_result(workdir)) is not None:
            say_once(f"{workdir} is finished, nothing to do: {outcome(result)}")
            return result
        run = add_teacher(build_run(config))
        check_same_data(run.data)
        say_once(headline(run))  # traces the network: what cannot run does not take the folder
        if is_first_process():
            facts = {
                "image_size": run.data.image_size,
                "class_names": run.data.class_names,
                "forms": active_lowerings(),
            }
            folder.write_config(workdir, config, facts)
        barrier("config.json is written")
        result = fit(run, workdir)
        if is_first_process():
            folder.write_result(workdir, result)
    say_once(f"finished: {outcome(result)}; {result['images_per_second'] or 0:,.0f} training images a second")
    say_once(
        f"everything is in {config.workdir}; use it: python -m experiments.predict --workdir={config.workdir} IMAGE …"
    )
    return result


def fit(run: Run, workdir: Path) -> Row:
    """Train from the newest checkpoint, or from nothing, to the end; return the last evaluation and facts of the run.

    Raises:
        InputError: every checkpoint is damaged.
        NonFiniteError: a step was not finite; nothing of it was saved.
        InterruptedRunError: a signal stopped it, and it was saved.
    """
    config, metrics = run.config, workdir / "metrics.jsonl"
    manager = checkpoint.open_manager(workdir / "checkpoints", keep=config.keep, best_step=partial(best_step, metrics))
    # Innermost, because a manager that is closed waits for the other processes.
    with closing(manager), stop_signal() as stop_requested, ending_together(debug=config.debug):
        start, state, sums = restore_or_init(run, manager, say_once)
        record = open_log(workdir, asdict(config), start) if is_first_process() else ignore
        barrier("metrics.jsonl ends where the run continues")
        evaluated = {row["step"]: row for row in read_rows(metrics) if row["split"] == "eval"}
        progress = Progress(start, run.total_steps, quiet=not is_first_process())
        validate = build_validation(run, progress, stop_requested)
        if start and due(start, run.eval_every, run.total_steps) and start not in evaluated:
            if (row := validate(start, state)) is None:
                raise interrupted(start)
            evaluated[start] = row
            record_evaluation(run, workdir, record, row)
        skipped: set[str] = set()
        batches = progress.waits(report_skipped(step_batches(run, start), skipped))
        reached = start
        with save_in_background(partial(write_checkpoint, run, manager)) as save:
            for step in training_steps(
                state,
                sums,
                batches,
                compared(build_train_step(run)),
                total_steps=run.total_steps,
                log_every=config.log_every,
                checkpoint_every=run.checkpoint_every,
                eval_every=run.eval_every,
            ):
                reached = step.number
                progress.tick(reached, step.sums["count"])
                if step.log:
                    row = position(run, step.number, "train") | averages(step.sums)
                    row["learning_rate"] = float(jax.device_get(run.optimizer.schedule(step.number - 1)))
                    row["waiting"] = round(progress.waiting(), 4)
                    record(row)
                    progress.show(row, config.batch_size)
                if step.save:
                    save(step.number, step.state, step.unlogged)
                if step.evaluate and (row := validate(step.number, step.state)) is not None:
                    evaluated[step.number] = row
                    record_evaluation(run, workdir, record, row)
                if stop_requested(step.number) and step.number < run.total_steps:
                    check_finite(step.sums)
                    save(step.number, step.state, step.unlogged)
                    break
        progress.close()
        manager.wait_until_finished()
        if reached < run.total_steps or reached not in evaluated:  # a signal may cut the last evaluation short, too
            raise interrupted(reached)
        return evaluated[reached] | {
            "images_per_second": progress.average_images_per_second(config.batch_size),
            "skipped_images": len(skipped),
            "fingerprint": checkpoint.stored_digest(manager, reached),
        }


def write_checkpoint(run: Run, manager: Any, step: int, state: TrainState, sums: Sums) -> None:
    """Write a checkpoint of the state and the sums that no log line holds yet."""
    content = checkpoint_content(run, state, sums)
    prints = checkpoint.fingerprint(content)
    check_same_state(step, checkpoint.digest(prints))
    checkpoint.save(manager, step, content, prints)


def record_evaluation(run: Run, workdir: Path, record: Callable[[Row], None], row: Row) -> None:
    """Log an evaluation, draw the curves anew, and print its outcome."""
    record(row)
    if is_first_process():
        title = f"{run.config.model} on {run.config.dataset}"
        draw_curves(read_rows(workdir / "metrics.jsonl"), workdir / "curves.png", title)
    say_once(f"step {row['step']:,}, epoch {row['epoch']:.2f}: test {outcome(row)}")


def ignore(row: Row) -> None:
    """Log nothing: one process writes for all."""
