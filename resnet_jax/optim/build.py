"""Learning rate, optimizer and EMA of a config."""

from dataclasses import dataclass, replace
from typing import Any

import optax

from resnet_jax.config.options import MOST_STEPS, Config, thaw_step
from resnet_jax.errors import InputError
from resnet_jax.optim.ema import Ema
from resnet_jax.optim.freeze import frozen_by, leave_frozen
from resnet_jax.optim.lr_scale import freeze_stem, scale_learning_rates
from resnet_jax.optim.optimizers import clip, make_optimizer
from resnet_jax.optim.plateau import FOLLOWS_PLATEAU, fall_on_plateau, plateau_scale
from resnet_jax.optim.schedules import make_schedule


@dataclass(frozen=True)
class Optimizer:
    """The parts of a run that move its parameters.

    Attributes:
        tx: the optax transformation.
        schedule: learning rate of every step, counted from 0.
        ema: average of the weights; None when none is kept.
    """

    tx: optax.GradientTransformation
    schedule: optax.Schedule
    ema: Ema | None

    def rate(self, step: int, opt_state: Any) -> Any:
        """Return the learning rate of a step, counted from 0, whose update left the optimizer in this state."""
        return self.schedule(step) * plateau_scale(opt_state)


def build_optimizer(config: Config, num_train: int) -> Optimizer:
    """Return the optimizer of a config's training on so many examples.

    Raises:
        InputError: an optimizer that does not have this kind of decay or schedule, or a freezing that cannot be.
    """
    total_steps = build_length(config, num_train)
    schedule = build_schedule(config, total_steps)
    tx = build_tx(config, schedule, total_steps, build_thaw(config, num_train))
    if config.schedule == "plateau":
        tx = optax.chain(tx, build_plateau(config, num_train))
    return Optimizer(tx, schedule, build_ema(config, total_steps))


def build_length(config: Config, num_train: int) -> int:
    """Return the steps of a config's training on so many examples.

    Raises:
        InputError: they are more than can be counted.
    """
    steps = config.steps or max(1, round(config.epochs * num_train / config.batch_size))
    if steps > MOST_STEPS:
        raise InputError(f"--epochs={config.epochs:g} are {steps:,} steps, and {MOST_STEPS:,} are the most")
    return steps


def build_schedule(config: Config, total_steps: int) -> optax.Schedule:
    """Return the learning rate as a function of the step."""
    peak = peak_learning_rate(config)
    return make_schedule(
        config.schedule,
        peak=peak,
        total_steps=total_steps,
        warmup_steps=round(config.warmup_fraction * total_steps),
        warmup_start=max(min(config.warmup_learning_rate, peak), config.warmup_from * peak),
        warmup=config.warmup,
        milestones=config.milestones,
        factor=config.milestone_factor,
        final=config.final_fraction * peak,
    )


def peak_learning_rate(config: Config) -> float:
    """Return the highest learning rate of a training, scaled to its batch size."""
    scale = config.batch_size / config.reference_batch_size if config.reference_batch_size else 1.0
    return config.learning_rate * (scale**0.5 if config.rate_scaling == "sqrt" else scale)


def build_thaw(config: Config, num_train: int) -> int:
    """Return the steps after which what --freeze names begins to learn; 0: it never does.

    Raises:
        InputError: it would not within the training.
    """
    steps = thaw_step(config, num_train)
    if config.unfreeze_at and not 0 < steps < build_length(config, num_train):
        raise InputError(
            f"--unfreeze_at={config.unfreeze_at:g} is step {steps:,} of {build_length(config, num_train):,}; "
            "name an epoch within the training"
        )
    return steps


def build_plateau(config: Config, num_train: int) -> optax.GradientTransformation:
    """Return the factor of the updates that falls where the training loss of an epoch does not.

    Raises:
        InputError: an optimizer whose momentum holds the rate, which it would not reach; or a factor that is none.
    """
    if not 0 < config.milestone_factor < 1:
        raise InputError(f"--milestone_factor={config.milestone_factor}: with --schedule=plateau it is between 0 and 1")
    if config.optimizer not in FOLLOWS_PLATEAU:
        kinds = ", ".join(FOLLOWS_PLATEAU)
        raise InputError(f"--schedule=plateau goes with --optimizer={kinds}, not with {config.optimizer}")
    return fall_on_plateau(
        factor=config.milestone_factor,
        patience=config.plateau_patience,
        epoch_steps=max(1, round(num_train / config.batch_size)),
    )


def build_tx(config: Config, schedule: optax.Schedule, total_steps: int, thaw: int = 0) -> optax.GradientTransformation:
    """Return the optax transformation of a config.

    Args:
        config: of the run.
        schedule: learning rate of every step.
        total_steps: length of the training.
        thaw: steps after which what is frozen learns too; 0: never.

    Raises:
        InputError: an optimizer that does not have this kind of decay, or a range of no layers to freeze.
    """
    tx = _build_tx(config, schedule, thaw)
    if config.stem_fraction < 1:
        return optax.chain(tx, freeze_stem(after=round(config.stem_fraction * total_steps)))
    return tx


def _build_tx(config: Config, schedule: optax.Schedule, thaw: int) -> optax.GradientTransformation:
    if not config.freeze:
        return build_update_rule(config, schedule)
    # The decay of the rate counts layers from the head: all of them, and not those of a part alone.
    # Nor is the norm of all gradients that of a part's.
    plain = replace(config, layer_decay=1.0, head_rate=1.0, clip_norm=0.0)
    tx = leave_frozen(
        build_update_rule(plain, schedule),
        frozen_by(config.freeze),
        thawed=build_update_rule(plain, lambda step: schedule(step + thaw)) if thaw else None,
        after=thaw,
    )
    rates = scale_learning_rates(layer_decay=config.layer_decay, head_rate=config.head_rate)
    return optax.chain(*clip(adaptive=0.0, norm=config.clip_norm), tx, rates)


def build_update_rule(config: Config, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Return the optax transformation of parameters that all learn; arguments and errors as in `build_tx`."""
    try:
        return make_optimizer(
            config.optimizer,
            schedule,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
            decay=config.decay,
            # Frozen scales and biases must not decay either.
            decay_norm_and_bias=config.decay_norm_and_bias and config.norm != "frozen",
            clip_norm=config.clip_norm,
            adaptive_clip=config.adaptive_clip,
            layer_decay=config.layer_decay,
            norm_bias_rate=config.norm_bias_rate,
            head_rate=config.head_rate,
        )
    except ValueError as error:
        raise InputError(f"--optimizer={config.optimizer} --decay={config.decay}: {error}") from error


def build_ema(config: Config, total_steps: int) -> Ema | None:
    """Return the settings of the EMA of the weights; None when none is kept."""
    if not (config.ema or config.ema_fraction):
        return None
    # Once at least: an average that is never updated is the untrained network, as which Lookahead would end.
    every = min(config.ema_every, total_steps)
    decay = config.ema
    if config.ema_fraction:
        decay = max(0.0, 1.0 - every / max(1.0, config.ema_fraction * total_steps))
    return Ema(
        decay=decay,
        every=every,
        rise=config.ema_rise,
        copy_steps=round(config.warmup_fraction * total_steps),
        total_steps=total_steps,
        write_back=config.lookahead,
    )
