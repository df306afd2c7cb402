"""Error of a finished run's network over its training images, without augmentation; kept in the run's folder."""

from pathlib import Path

from resnet_jax.evaluation.evaluate import evaluate
from resnet_jax.inference.trained import trained_from_run
from resnet_jax.runtime.distributed import is_first_process
from resnet_jax.workdir.sealed import read_sealed, write_sealed

FILE = "training_set.json"
REMEDY = "delete it, and the command of the study measures it anew"


def measure_training_error(workdir: Path) -> None:
    """Evaluate a finished run on its training images, each once, and write WORKDIR/training_set.json, once.

    Raises:
        InputError: the run or its images cannot be read, or the file cannot be written.
    """
    if (workdir / FILE).exists():
        return
    scores = evaluate(trained_from_run(workdir), split="train")
    if is_first_process():
        write_sealed(workdir / FILE, scores)


def read_training_error(workdir: Path) -> float | None:
    """Return this error in percent, or None where it has not been measured.

    Raises:
        InputError: the file is damaged.
    """
    try:
        return 100 * (1 - read_sealed(workdir / FILE, REMEDY)["top1"])
    except FileNotFoundError:
        return None
