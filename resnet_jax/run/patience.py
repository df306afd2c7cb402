"""Early stopping: how many evaluations in a row without a better one a training bears."""

from resnet_jax.errors import InputError
from resnet_jax.run.build import Run
from resnet_jax.workdir.metrics_log import Row, score, score_text


def check_patience(run: Run) -> None:
    """Refuse patience with a training that is evaluated at its end alone.

    Raises:
        InputError: it is.
    """
    if run.config.patience and run.eval_every >= run.total_steps:
        raise InputError(
            f"--patience={run.config.patience} does nothing here: the first evaluation is that after the last step, "
            f"{run.total_steps:,}; take a smaller --eval_every"
        )


def out_of_patience(evaluated: dict[int, Row], patience: int) -> str:
    """Return why a training ends before its last step; "" where it goes on.

    Args:
        evaluated: every evaluation so far, by its step.
        patience: evaluations in a row without a better one that it bears; 0: any number.
    """
    steps = sorted(evaluated)
    best = max(steps, key=lambda step: score(evaluated[step]), default=0)  # the first of equal ones
    since = sum(step > best for step in steps)
    if not patience or since < patience:
        return ""
    return (
        f"ended early: none of the {since} evaluations since step {best:,} was better; "
        f"that one had {score_text(evaluated[best])}, and its weights are --checkpoint=best"
    )
