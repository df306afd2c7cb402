"""A rate range test: the loss while the learning rate rises from step to step (Smith 2015, arXiv:1506.01186)."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from resnet_jax.analysis.plots.curves import draw_rate_test
from resnet_jax.config.options import Config
from resnet_jax.errors import InputError, NonFiniteError
from resnet_jax.optim.build import Optimizer, build_tx, peak_learning_rate
from resnet_jax.run.build import Run
from resnet_jax.run.cached_features import with_cached_features
from resnet_jax.run.initial import fresh_run
from resnet_jax.run.report import say_once
from resnet_jax.run.state import first_state
from resnet_jax.run.step import build_train_steps, step_batches
from resnet_jax.runtime.distributed import is_first_process
from resnet_jax.runtime.sharding import replicated
from resnet_jax.training.loop import training_steps
from resnet_jax.training.skipped import report_skipped

STEPS, LOWEST, HIGHEST = 100, 1e-6, 10.0
SMOOTHING = 0.9  # of the mean of the losses that the suggestion looks at
DIVERGED = 4.0  # times the lowest mean loss: higher rates only make it worse
SAFETY = 10.0  # the rate of the lowest loss, divided by this, still learns fast and is far from diverging


@dataclass(frozen=True)
class RateTest:
    """The losses of a rate range test; arrays [N], of the steps until it diverged.

    Attributes:
        rates: learning rate of each step.
        losses: its training loss, nats.
        means: running mean of the losses.
        suggestion: a rate; None where no rate made the loss fall.
    """

    rates: np.ndarray
    losses: np.ndarray
    means: np.ndarray
    suggestion: float | None


def find_rate(config: Config) -> RateTest:
    """Try rising rates from the first weights of a training, which stay as they are; print and draw what they do.

    Raises:
        InputError: something in the config or the data cannot be used.
    """
    if not config.learning_rate:
        raise InputError("--learning_rate=0 has no scale to suggest another in; leave it out")
    plain = replace(config, steps=STEPS, steps_per_call=1, unfreeze_at=0.0, schedule="constant", patience=0)
    run = fresh_run(plain)
    say_once(f"trying rates from {LOWEST:g} to {HIGHEST:g}, each for one batch of {config.batch_size}")
    test = rate_test(run)
    if is_first_process() and len(test.losses):
        path = Path(config.workdir) / "find_rate.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_rate_test(test.rates, test.losses, test.means, test.suggestion, path, f"{config.model}, {config.recipe}")
        print(f"drawn to {path}")
    if test.suggestion is None:
        raise InputError("no rate made the loss fall: look at the images, or at what --freeze leaves to learn")
    given = test.suggestion * config.learning_rate / peak_learning_rate(config)
    say_once(
        f"the loss fell until a rate of {test.rates[test.means.argmin()]:.2g}; "
        f"suggestion, a tenth of it: --learning_rate={given:.2g}"
    )
    return test


def rate_test(run: Run) -> RateTest:
    """Train a run with rising rates, one a step, until its loss diverges."""
    growth = math.log(HIGHEST / LOWEST) / (STEPS - 1)

    def schedule(step: jax.typing.ArrayLike) -> jax.Array:
        return LOWEST * jnp.exp(growth * step)

    run = replace(run, optimizer=Optimizer(build_tx(run.config, schedule, STEPS), schedule, ema=None))
    state = first_state(run)
    if run.config.cache_features:
        run = with_cached_features(run, state, set())
    sums = jax.jit(run.task.zero_sums, out_shardings=replicated(run.mesh))()
    losses: list[float] = []
    means: list[float] = []
    mean = 0.0
    try:
        for step in training_steps(
            state,
            sums,
            report_skipped(step_batches(run, 0), set()),
            build_train_steps(run),
            total_steps=STEPS,
            log_every=1,
            checkpoint_every=STEPS,
            eval_every=STEPS,
        ):
            losses.append(run.task.metrics(step.sums)["loss"])
            mean = SMOOTHING * mean + (1 - SMOOTHING) * losses[-1]
            means.append(mean / (1 - SMOOTHING**step.number))
            if means[-1] > DIVERGED * min(means):
                break
    except NonFiniteError:
        pass  # the end of the rates that can be tried
    rates = LOWEST * np.exp(growth * np.arange(len(losses)))
    return RateTest(rates, np.array(losses), np.array(means), suggested_rate(rates, np.array(means)))


def suggested_rate(rates: np.ndarray, means: np.ndarray) -> float | None:
    """Return the rate of the lowest mean loss, divided by `SAFETY`; None where the loss never fell.

    Args:
        rates: [N], rising.
        means: running means of the losses [N].
    """
    if len(means) == 0 or means.argmin() == 0:
        return None
    return float(rates[means.argmin()]) / SAFETY
