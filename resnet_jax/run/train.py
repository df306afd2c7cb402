"""A training run from its config: the one module that knows every other."""

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from resnet_jax.analysis.plots.curves import draw_curves
from resnet_jax.config.checks import check_config
from resnet_jax.config.options import Config
from resnet_jax.errors import InterruptedRunError
from resnet_jax.inference.tta import build_apply
from resnet_jax.models.counts import abstract_variables, multiply_adds, parameter_count
from resnet_jax.models.resnet.scan import stack_scan_groups
from resnet_jax.ops.lowering import taken
from resnet_jax.run.build import Run, build_run
from resnet_jax.run.distill import taught
from resnet_jax.run.dry_run import dry_run
from resnet_jax.run.state import first_state, places, stored
from resnet_jax.run.step import build_train_chunk, build_train_step, check_steps_per_call, chunked_batches
from resnet_jax.runtime.batch import Batch
from resnet_jax.runtime.distributed import agreed, barrier, connect, stop_signal
from resnet_jax.runtime.sharding import replicated
from resnet_jax.training import loop, step
from resnet_jax.training.metrics import Sums, mean_metrics, zero_sums
from resnet_jax.training.progress import Progress, say
from resnet_jax.training.state import TrainState, abstract_checkpoint
from resnet_jax.workdir import checkpoint, folder, metrics_log
from resnet_jax.workdir.async_save import save_in_background

MEANS = ("loss", "top1", "top5")  # of an evaluation; they are also taken of the average of the weights


def train(config: Config) -> metrics_log.Row:
    """Train, or continue, the run of this config in its workdir; returns what its result.json says.

    With `dry_run`, only print and draw what would be done; returns nothing then.

    Raises:
        InputError: something the user gave cannot be used.
        NonFiniteError: the training diverged.
        InterruptedRunError: a signal asked it to stop; it saved and left.
    """
    check_config(config)
    if config.dry_run:
        if config.process_id <= 0:
            dry_run(config)
        return {}
    connect(config)
    workdir = Path(config.workdir).absolute()
    with ExitStack() as stack:
        agreed(lambda: stack.enter_context(folder.locked(workdir)) if _first_process() else None)
        folder.check_config_matches(workdir, config)
        if (result := folder.read_result(workdir)) is not None:
            _say(f"{workdir} is finished, nothing to do: {_outcome(result)}")
            return result
        run = agreed(lambda: check_steps_per_call(taught(build_run(config))))
        _say(_headline(run))  # traces the network: what cannot run does not take the folder
        if _first_process():
            facts = {"image_size": run.image_size, "class_names": run.class_names, "forms": taken()}
            folder.write_config(workdir, config, facts)
        barrier("config.json is written")
        result = _fit(run, workdir)
        if _first_process():
            folder.write_result(workdir, result)
    _say(f"finished: {_outcome(result)}; {result['images_per_second'] or 0:,.0f} training images a second")
    _say(f"everything is in {config.workdir}; use it: python -m experiments.predict --workdir={config.workdir} IMAGE …")
    return result


def _fit(run: Run, workdir: Path) -> metrics_log.Row:
    metrics = workdir / "metrics.jsonl"
    options = asdict(run.config)
    wanted = {name: options[name] and _first_process() for name in ("tensorboard", "wandb")}
    trackers = metrics_log.open_trackers(workdir, options, **wanted)
    manager = checkpoint.open_manager(
        workdir / "checkpoints", keep=run.config.keep, best_step=partial(metrics_log.best_step, metrics)
    )

    def store(at: int, carry: dict[str, Any]) -> None:
        checkpoint.save(manager, at, stored(run, carry))

    with closing(manager), stop_signal() as stop_requested:
        start, carry = _restore_or_begin(run, manager)
        if _first_process():
            metrics_log.truncate_rows(metrics, start)
        barrier("metrics.jsonl ends where the run continues")
        evaluations = {row["step"]: row for row in metrics_log.read_rows(metrics) if row["split"] == "eval"}
        skipped: set[str] = set()
        progress = Progress(start, run.total_steps, quiet=not _first_process())
        apply = build_apply(run.model, run.config.eval_views)
        eval_step = step.jit_eval_step(apply, run.testing.prepare, replicated(run.mesh))
        # One program: gathered array by array, processes could come to them in different orders.
        gather = jax.jit(lambda tree: tree, out_shardings=replicated(run.mesh))

        def record(row: metrics_log.Row) -> None:
            if _first_process():
                metrics_log.append_row(metrics, row)
                for track in trackers:
                    track(row)

        def log_train(at: int, sums: Sums) -> None:
            row = _place(run, at, "train") | mean_metrics(sums)
            row["learning_rate"] = float(jax.device_get(run.schedule(at - 1)))
            row["waiting"] = round(progress.waiting(), 4)
            record(row)
            progress.show(row, run.config.batch_size)

        def evaluate(at: int, state: TrainState) -> None:
            with progress.paused():
                # Several processes can only stop together, after a step; one may leave an evaluation.
                alone = jax.process_count() == 1
                row = _place(run, at, "eval")
                judged = {"": state.variables}
                if state.ema and not run.config.lookahead:  # Lookahead sets the weights to their average
                    judged["ema_"] = state.ema
                for prefix, variables in judged.items():
                    batches = takewhile(lambda _: not (alone and stop_requested(at)), run.testing.batches())
                    whole = gather(variables) if run.config.fsdp else variables
                    sums = loop.evaluate(batches, partial(eval_step, whole))
                    if alone and stop_requested(at):
                        return  # cut short, perhaps before its first batch: a run that continues begins with it
                    result = mean_metrics(sums)
                    row |= {prefix + name: value for name, value in result.items() if not prefix or name in MEANS}
                evaluations[at] = row
                record(row)
                if _first_process():
                    title = f"{run.config.model} on {run.config.dataset}"
                    draw_curves(metrics_log.read_rows(metrics), workdir / "curves.png", title)
                _say(f"step {at:,}, epoch {row['epoch']:.2f}: test {_outcome(row)}")

        if start and loop.due(start, run.eval_every, run.total_steps) and start not in evaluations:
            evaluate(start, carry["state"])
            if start not in evaluations:
                raise _interrupted(start)
        with save_in_background(store) as save:
            reached, _ = loop.fit(
                **carry,
                batches=progress.waits(_report_skipped(_fed(run, start), skipped)),
                start=start,
                total_steps=run.total_steps,
                steps_per_call=run.config.steps_per_call,
                train_step=build_train_step(run) if run.config.steps_per_call == 1 else build_train_chunk(run),
                log_every=run.config.log_every,
                checkpoint_every=run.checkpoint_every,
                eval_every=run.eval_every,
                log=log_train,
                save=lambda at, state, sums: save(at, {"state": state, "sums": sums}),
                evaluate=evaluate,
                stop_requested=stop_requested,
                progress=progress.tick,
            )
        speed = progress.average_images_per_second(run.config.batch_size)
        progress.close()
        manager.wait_until_finished()
        if reached < run.total_steps or reached not in evaluations:
            raise _interrupted(reached)
        return evaluations[reached] | {
            "images_per_second": speed,
            "skipped_images": len(skipped),
            "fingerprint": checkpoint.stored_digest(manager, reached),
        }


def _interrupted(at: int) -> InterruptedRunError:
    return InterruptedRunError(
        f"stopped by a signal after step {at:,}, which is saved; the same command continues the run"
    )


def _settled(run: Run, state: TrainState) -> TrainState:
    """The first state with what the network computes from images in place."""
    if run.settle is None:
        return state
    variables = jax.device_put(run.settle(state.variables), replicated(run.mesh))
    ema = jax.tree.map(jnp.copy, variables) if run.average else {}
    return jax.device_put(dataclasses.replace(state, **variables, ema=ema), places(run))


def _restore_or_begin(run: Run, manager: Any) -> tuple[int, dict[str, Any]]:
    averaged, fsdp = run.average is not None, run.config.fsdp
    target = abstract_checkpoint(run.model, run.tx, run.image_size, run.mesh, with_ema=averaged, fsdp=fsdp)
    restored = checkpoint.restore_newest(manager, target, _say)
    if restored is None:
        sums = jax.jit(zero_sums, out_shardings=replicated(run.mesh))()
        return 0, {"state": _settled(run, first_state(run)), "sums": sums}
    start, content = restored
    _say(f"continuing after step {start:,}")
    return start, content | {"state": jax.device_put(stack_scan_groups(content["state"], run.scan_groups), places(run))}


def _fed(run: Run, start: int) -> Iterator[Batch]:
    """What the device is fed from step `start` on, call by call."""
    if run.config.steps_per_call == 1:
        return run.training.batches(start, run.total_steps)
    intervals = (run.config.log_every, run.checkpoint_every, run.eval_every)
    return chunked_batches(run, loop.spans(start, run.total_steps, run.config.steps_per_call, intervals))


def _report_skipped(batches: Iterator[Batch], skipped: set[str]) -> Iterator[Batch]:
    for batch in batches:
        for problem in batch.pop("skipped", ()):
            if problem not in skipped:
                skipped.add(problem)
                say(f"skipped an image that cannot be read, {len(skipped)} so far: {problem}")
        yield batch


def _place(run: Run, at: int, split: str) -> metrics_log.Row:
    return {"step": at, "epoch": round(run.epoch(at), 6), "split": split}


def _headline(run: Run) -> str:
    config = run.config
    devices = f"{run.mesh.devices.size} {run.mesh.devices.flat[0].device_kind}"
    processes = f" in {jax.process_count()} processes" if jax.process_count() > 1 else ""
    return (
        f"{config.model}: {parameter_count(abstract_variables(run.model, run.image_size)['params']):,} parameters, "
        f"{multiply_adds(run.model, run.image_size) / 1e9:.3f} G multiply-adds at {run.image_size} px | "
        f"{config.dataset}: {run.num_train:,} training and {run.num_test:,} test images, "
        f"{len(run.class_names)} classes | {devices}{processes} | "
        f"{run.total_steps:,} steps of {config.batch_size} ({run.epoch(run.total_steps):.3g} epochs)"
    )


def _outcome(row: metrics_log.Row) -> str:
    averaged = f" (averaged weights: top-1 {row['ema_top1']:.4f})" if "ema_top1" in row else ""
    return (
        f"top-1 {row['top1']:.4f}, top-5 {row['top5']:.4f}, loss {row['loss']:.4f} over {row['num_examples']:,} images"
        f"{averaged}"
    )


def _first_process() -> bool:
    return jax.process_index() == 0


def _say(line: str) -> None:
    if _first_process():
        say(line)
