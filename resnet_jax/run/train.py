"""A training run from its config, from the first line to the result."""

import dataclasses
import math
import shlex
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import jax

from resnet_jax.config.checks import check_config
from resnet_jax.config.needs import check_new_run
from resnet_jax.config.options import Config
from resnet_jax.data.build import Data, build_preprocessing
from resnet_jax.data.preprocessing import check_crop
from resnet_jax.errors import InputError, InterruptedRunError, NonFiniteError
from resnet_jax.models.build import check_examples_survive
from resnet_jax.ops.lowering import active_lowerings
from resnet_jax.run.agreement import check_same_config, check_same_data, compared
from resnet_jax.run.build import Run, build_run
from resnet_jax.run.cached_features import with_cached_features
from resnet_jax.run.distill import add_teacher
from resnet_jax.run.dry_run import dry_run
from resnet_jax.run.find_batch import find_batch
from resnet_jax.run.find_rate import find_rate
from resnet_jax.run.initial import check_same_start, fit_initial, read_initial, with_preprocessing_of
from resnet_jax.run.memory import smaller_batch
from resnet_jax.run.patience import check_patience, out_of_patience
from resnet_jax.run.record import check_written, open_log, position, record_evaluation, write_checkpoint
from resnet_jax.run.report import headline, interrupted, outcome, say_once
from resnet_jax.run.state import check_whitening, restore_or_init
from resnet_jax.run.step import build_train_steps, step_batches
from resnet_jax.run.validate import build_validation
from resnet_jax.runtime.accelerator import check_accelerator
from resnet_jax.runtime.distributed import barrier, connect, is_first_process, over_processes, stop_signal
from resnet_jax.runtime.ending import ending_together
from resnet_jax.runtime.machine import describe_machine
from resnet_jax.runtime.main_guard import refuse_import_by_worker
from resnet_jax.runtime.memory import memory_remedy
from resnet_jax.runtime.signals import check_stop
from resnet_jax.runtime.watchdog import watchdog
from resnet_jax.training.loop import Step, check_finite, due, training_steps
from resnet_jax.training.progress import Progress
from resnet_jax.training.skipped import report_skipped
from resnet_jax.workdir import checkpoint, folder
from resnet_jax.workdir.async_save import save_in_background
from resnet_jax.workdir.data_facts import check_data_matches
from resnet_jax.workdir.metrics_log import Row, best_step, read_rows, score_text
from resnet_jax.workdir.saves import Saves


def train(config: Config) -> Row:
    """Train, or continue, the run of this config in its workdir; return the content of its result.json.

    With `dry_run`, only print and draw how settings would change over the training; with `find_rate` and `find_batch`,
    only try rates or batch sizes. It returns {} then.

    Raises:
        InputError: something the user gave cannot be used.
        NonFiniteError: the training diverged.
        InterruptedRunError: a signal stopped it, and it was saved.
    """
    refuse_import_by_worker()  # before the lock of the folder, which the script's own process holds
    check_config(config)
    if not config.workdir:  # the commands have chosen one
        raise InputError("--workdir is empty; name a folder for the run, such as --workdir=runs/first")
    check_stop(f"the training in {config.workdir}")
    if config.dry_run or config.find_rate or config.find_batch:
        check_new_run(config)
    if config.dry_run:
        if config.process_id <= 0:
            dry_run(config)
        return {}
    connect(config.coordinator_address, config.num_processes, config.process_id, config.connect_timeout)
    workdir = Path(config.workdir).absolute()
    # Trackers end last: a server that does not answer holds up neither the result nor the other processes.
    with ExitStack() as trackers, ExitStack() as stack:
        stack.enter_context(ending_together(debug=config.debug))
        unused = check_accelerator(config.require_accelerator)
        stack.enter_context(watchdog(config.stall_minutes))
        if config.find_rate or config.find_batch:
            check_same_config(config)
            find_rate(config) if config.find_rate else find_batch(config)
            return {}
        if is_first_process():
            stack.enter_context(folder.locked(workdir))
        begun = folder.read_run_to_continue(workdir)
        if begun is None:
            check_new_run(config)
        trained = None if folder.has_checkpoints(workdir) else read_initial(config)
        config = with_preprocessing_of(trained, config, begun[0] if begun else None)
        check_same_config(config)
        folder.check_config_matches(workdir, config)
        if (result := folder.read_result(workdir)) is not None:
            say_once(f"{workdir} is finished, nothing to do: {outcome(result)}")
            return result
        run = add_teacher(build_run(config))
        if begun is None:  # a run that is under way continues as it began
            check_whitening(run)
            check_patience(run)
            check_examples_survive(run.model, config)
            if not run.task.pixels:
                check_crop(build_preprocessing(config, run.data.image_size), "eval_resize")
        initial = None if folder.has_checkpoints(workdir) else fit_initial(trained, run)
        check_same_data(run.data)
        data = data_facts(run.data)
        check_data_matches(workdir, data)
        if not folder.has_checkpoints(workdir):
            folder.check_may_begin(workdir, math.inf)
        say_once(headline(run))  # traces the network: what cannot run does not take the folder
        if unused:
            say_once(unused)
        if initial is not None:
            check_same_start(initial, begun[1] if begun else {})
            say_once(initial.line)
            run = dataclasses.replace(run, initial=initial.variables)
            data |= initial.facts
        if is_first_process():
            facts = {"forms": active_lowerings(), "machine": describe_machine()}
            folder.write_config(workdir, config, data | facts)
            if other := folder.other_code(workdir):
                say_once(other)
        barrier("config.json is written")
        try:
            result = fit(run, workdir, trackers)
        except Exception as error:
            if is_first_process() and not isinstance(error, InterruptedRunError):
                folder.mark_failed(workdir)
            if isinstance(error, NonFiniteError):
                raise NonFiniteError(f"{error}; {after_divergence(workdir)}") from error
            raise
        if is_first_process():
            folder.write_result(workdir, result)
    say_once(f"finished: {outcome(result)}; {result['images_per_second'] or 0:,.0f} training images a second")
    say_once(
        f"everything is in {config.workdir}; use it: "
        f"python -m experiments.predict --workdir={shlex.quote(config.workdir)} IMAGE …"
    )
    return result


def fit(run: Run, workdir: Path, trackers: ExitStack) -> Row:
    """Train from the newest checkpoint, or from nothing, to the end; return the last evaluation and facts of the run.

    Args:
        run: the run.
        workdir: its folder.
        trackers: a stack whose end closes the run's trackers.

    Raises:
        InputError: no checkpoint can be read, the memory does not suffice, or the end could not be written.
        NonFiniteError: a step was not finite; nothing of it was saved.
        InterruptedRunError: a signal stopped it, and it was saved.
    """
    config, metrics = run.config, workdir / "metrics.jsonl"
    manager = checkpoint.open_manager(workdir / "checkpoints", keep=config.keep, best_step=partial(best_step, metrics))
    saves = Saves(manager, say_once, partial(folder.mark_saved, workdir) if is_first_process() else lambda: None)
    too_large = memory_remedy(lambda: "take a smaller --batch_size, --remat or --dtype=bfloat16")
    # Ends inside `closing`: a manager that is closed waits for the other processes.
    with closing(saves), stop_signal() as stop_requested, ending_together(debug=config.debug), too_large:
        start, state, sums = restore_or_init(run, manager, say_once)
        stored = checkpoint.stored_record(manager, start) if start else {}
        skipped: set[str] = set(stored.get("skipped", ()))
        if config.cache_features:
            run = with_cached_features(run, state, skipped, stop_requested)
        log = trackers.enter_context(open_log(workdir, config, start, stored))
        barrier("metrics.jsonl ends where the run continues")
        evaluated = {row["step"]: row for row in read_rows(metrics) if row["split"] == "eval"}
        progress = Progress(start, run.total_steps, quiet=not is_first_process())
        validate = build_validation(run, progress, stop_requested)
        if start and due(start, run.eval_every, run.total_steps) and start not in evaluated:
            if (row := validate(start, state)) is None:
                raise interrupted(start)
            evaluated[start] = row
            record_evaluation(run, workdir, log, row)
        ended = out_of_patience(evaluated, config.patience)
        batches = () if ended else progress.waits(report_skipped(step_batches(run, start), skipped))
        reached = start
        step_at = build_train_steps(run)
        remedy = partial(smaller_batch, run, step_at(start + 1), state, sums, start)
        with memory_remedy(remedy), save_in_background(partial(write_checkpoint, run, saves), saves.finish) as save:

            def save_reached(step: Step) -> None:
                save(step.number, step.state, step.unlogged, log=list(log.sums), skipped=over_processes(skipped))

            for step in training_steps(
                state,
                sums,
                batches,
                compared(step_at),
                total_steps=run.total_steps,
                log_every=config.log_every,
                checkpoint_every=run.checkpoint_every,
                eval_every=run.eval_every,
            ):
                reached = step.number
                progress.tick(reached, step.sums["count"])
                if step.log:
                    row = position(run, step.number, "train") | run.task.metrics(step.sums)
                    rate = run.optimizer.rate(step.number - 1, step.state.opt_state)
                    row["learning_rate"] = float(jax.device_get(rate))
                    row["waiting"] = round(progress.waiting(), 4)
                    log.add(row)
                    progress.show(row, config.batch_size, score_text(row))
                if step.save:
                    save_reached(step)
                if step.evaluate and (row := validate(step.number, step.state)) is not None:
                    evaluated[step.number] = row
                    with progress.paused():
                        record_evaluation(run, workdir, log, row)
                    if ended := out_of_patience(evaluated, config.patience):
                        break
                if stop_requested(step.number) and step.number < run.total_steps:
                    if not step.save:
                        check_finite(step.number, step.state, step.sums)
                        save_reached(step)
                    break
            speed = progress.average_images_per_second(config.batch_size)  # before the last checkpoint is whole
        progress.close()
        check_written(saves, log, reached)
        # A signal may cut the last evaluation short, too.
        if (reached < run.total_steps and not ended) or reached not in evaluated:
            raise interrupted(reached)
        if ended:
            say_once(ended)
        return evaluated[reached] | {
            "images_per_second": speed,
            "skipped_images": len(over_processes(skipped)),
            "fingerprint": checkpoint.stored_digest(manager, reached),
        }


def data_facts(data: Data) -> dict[str, Any]:
    """Return what config.json says of the data of a run."""
    return {
        "image_size": data.image_size,
        "class_names": data.class_names,
        "num_train": data.num_train,
        "num_test": data.num_test,
        "train_examples": data.train_examples,
        "test_examples": data.test_examples,
        **({"mask_content": data.mask_content} if data.mask_content else {}),
    } | ({"mask_coding": dataclasses.asdict(data.coding)} if data.coding else {})


def after_divergence(workdir: Path) -> str:
    """Return where a run with other options may begin."""
    if folder.has_checkpoints(workdir):
        return "other options need another --workdir, because this one holds checkpoints"
    return "nothing was saved before, so that other options may begin in the same --workdir"
