"""TensorBoard and Weights & Biases, when a run asks for them."""

import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from resnet_jax.errors import InputError
from resnet_jax.files.atomic import write_atomically
from resnet_jax.workdir.metrics_log import Row

WANDB_ID = "wandb_id"  # file in the workdir


Track = Callable[[Row], None]
Close = Callable[[bool], None]  # whether the run came to its end


@contextmanager
def open_trackers(workdir: Path, options: Row, start: int, *, tensorboard: bool, wandb: bool) -> Iterator[list[Track]]:
    """Open the trackers of a run, each a function that takes a row; the end of the block closes them.

    So that each of several runs in a process, such as those of --folds, has its own.

    Args:
        workdir: the run's folder.
        options: of the run, for Weights & Biases.
        start: steps done; what TensorBoard holds of later ones, from before a kill, is hidden.
        tensorboard: write WORKDIR/tensorboard.
        wandb: log to Weights & Biases.

    Raises:
        InputError: a package is not installed, or the tracker cannot be opened.
    """
    opened: list[tuple[Track, Close]] = []
    ended = False
    try:
        if tensorboard:
            opened.append(_tensorboard(workdir, start))
        if wandb:
            opened.append(_wandb(workdir, options, start))
        yield [track for track, _ in opened]
        ended = True
    finally:
        for _, close in opened:
            with suppress(Exception):  # a tracker's server or disk never decides over a training
                close(ended)


def _tensorboard(workdir: Path, start: int) -> tuple[Track, Close]:
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise InputError("--tensorboard needs tensorboardX: pip install 'residual-jax[tensorboard]'") from error
    try:
        # Its thread writes what lies in its queue every second; `flush` writes only what the thread has taken up.
        writer = SummaryWriter(str(workdir / "tensorboard"), purge_step=start + 1, flush_secs=1)
    except OSError as error:
        raise InputError(f"--tensorboard: {workdir / 'tensorboard'} cannot be written ({error.strerror})") from error

    def track(row: Row) -> None:
        for name, value in scalars(row):
            writer.add_scalar(f"{row['split']}/{name}", value, row["step"])

    return track, lambda ended: writer.close()


def _wandb(workdir: Path, options: Row, start: int) -> tuple[Track, Close]:
    try:
        import wandb
    except ImportError as error:
        raise InputError("--wandb needs wandb: pip install 'residual-jax[wandb]'") from error
    try:
        run = wandb.init(
            project="resnet_jax", name=workdir.name, id=wandb_id(workdir, start), config=options, resume="allow"
        )
    except Exception as error:  # no key, no network, or a project of somebody else
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"--wandb: {reason}; run `wandb login`, or set WANDB_MODE=offline") from error

    def track(row: Row) -> None:
        run.log({f"{row['split']}/{name}": value for name, value in scalars(row)}, step=row["step"])

    return track, lambda ended: run.finish(exit_code=0 if ended else 1)


def wandb_id(workdir: Path, start: int) -> str:
    """Return the run's id there: random, and kept in the workdir, so that a run that continues is the same one.

    A folder without one that is not at its beginning goes on under its name, which was the id once.
    """
    path = workdir / WANDB_ID
    with suppress(FileNotFoundError):
        return path.read_text("utf-8").strip()
    new = workdir.name if start else secrets.token_hex(8)
    write_atomically(path, f"{new}\n")
    return new


def scalars(row: Row) -> Iterable[tuple[str, float]]:
    """Return the measured values of a row: all but its step and split."""
    return ((name, value) for name, value in row.items() if name not in ("step", "split"))
