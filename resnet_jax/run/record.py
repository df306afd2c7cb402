"""What a training writes while it goes: rows of its log, checkpoints, curves."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from resnet_jax.analysis.plots.curves import draw_curves
from resnet_jax.config.options import Config
from resnet_jax.errors import InputError
from resnet_jax.run.agreement import check_same_state
from resnet_jax.run.build import Run
from resnet_jax.run.report import outcome, say_once
from resnet_jax.run.state import checkpoint_content
from resnet_jax.runtime.distributed import is_first_process
from resnet_jax.training.metrics import Sums
from resnet_jax.training.state import TrainState
from resnet_jax.workdir import checkpoint
from resnet_jax.workdir.folder import has_checkpoints
from resnet_jax.workdir.metrics_log import MetricsLog, Row, read_rows, truncate_rows
from resnet_jax.workdir.saves import Saves
from resnet_jax.workdir.sealed import digest_of
from resnet_jax.workdir.trackers import open_trackers


def position(run: Run, step: int, split: str) -> Row:
    """Return the fields with which a row of the log begins."""
    return {"step": step, "epoch": round(run.epoch(step), 6), "split": split}


@contextmanager
def open_log(workdir: Path, config: Config, start: int, stored: dict[str, Any]) -> Iterator[MetricsLog]:
    """Open the log of a run that continues after step `start`, from what its checkpoint recorded, and its trackers.

    The end of the block closes the trackers.

    Raises:
        InputError: a tracker cannot be opened.
    """
    if not is_first_process():
        yield MetricsLog(None)
        return
    path, options = workdir / "metrics.jsonl", asdict(config)
    tracked = {(row["step"], row["split"]) for row in read_rows(path) if row["step"] <= start}
    rows = truncate_rows(path, start, stored.get("log"), say_once)
    with open_trackers(workdir, options, start, tensorboard=config.tensorboard, wandb=config.wandb) as trackers:
        yield MetricsLog(path, rows, trackers, tracked, say_once)


def write_checkpoint(
    run: Run, saves: Saves, step: int, state: TrainState, sums: Sums, *, log: list[int], skipped: list[str]
) -> None:
    """Write a checkpoint of the state and the sums that no log line holds yet, with the log so far."""
    content = checkpoint_content(run, state, sums)
    prints = checkpoint.fingerprint(content)
    check_same_state(step, digest_of(prints))
    saves.write(step, content, prints, record={"log": log, "skipped": skipped})


def record_evaluation(run: Run, workdir: Path, log: MetricsLog, row: Row) -> None:
    """Log an evaluation, draw the curves anew, and print its outcome."""
    log.add(row)
    if is_first_process():
        title = f"{run.config.model} on {run.config.dataset}"
        try:
            draw_curves(read_rows(workdir / "metrics.jsonl"), workdir / "curves.png", title)
        except OSError as error:
            say_once(f"warning: {workdir / 'curves.png'} cannot be written ({error.strerror}); the training goes on")
    say_once(f"step {row['step']:,}, epoch {row['epoch']:.2f}, evaluation: {outcome(row)}")


def check_written(saves: Saves, log: MetricsLog, step: int) -> None:
    """Refuse to end as if all were well when the last checkpoint or rows of the log are not on the disk.

    Raises:
        InputError: they are not.
    """
    problem = saves.problem or log.flush()
    if problem:
        what = "the last checkpoint" if saves.problem else "the end of metrics.jsonl"
        saved = has_checkpoints(Path(saves.manager.directory).parent)
        again = "continues from the newest checkpoint" if saved else "begins again, because nothing was saved"
        raise InputError(
            f"{what}, of step {step:,}, could not be written ({problem}); make room, and the same command {again}"
        )
