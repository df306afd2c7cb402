"""Learning rate, optimizer and EMA of a config."""

from dataclasses import dataclass

import optax

from resnet_jax.config.options import Config
from resnet_jax.errors import InputError
from resnet_jax.optim.ema import Ema
from resnet_jax.optim.freeze import frozen_by, leave_frozen
from resnet_jax.optim.lr_scale import freeze_stem
from resnet_jax.optim.optimizers import make_optimizer
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


def build_optimizer(config: Config, total_steps: int) -> Optimizer:
    """Return the optimizer of a config's training of so many steps.

    Raises:
        InputError: an optimizer that does not have this kind of decay.
    """
    schedule = build_schedule(config, total_steps)
    return Optimizer(build_tx(config, schedule, total_steps), schedule, build_ema(config, total_steps))


def build_length(config: Config, num_train: int) -> int:
    """Return the steps of a config's training on so many examples."""
    return config.steps or max(1, round(config.epochs * num_train / config.batch_size))


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


def build_tx(config: Config, schedule: optax.Schedule, total_steps: int) -> optax.GradientTransformation:
    """Return the optax transformation of a config.

    Raises:
        InputError: an optimizer that does not have this kind of decay, or a range of no layers to freeze.
    """
    try:
        tx = make_optimizer(
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
    if config.stem_fraction < 1:
        tx = optax.chain(tx, freeze_stem(after=round(config.stem_fraction * total_steps)))
    return leave_frozen(tx, frozen_by(config.freeze)) if config.freeze else tx


def build_ema(config: Config, total_steps: int) -> Ema | None:
    """Return the settings of the EMA of the weights; None when none is kept."""
    decay = config.ema
    if config.ema_fraction:
        decay = max(0.0, 1.0 - config.ema_every / max(1.0, config.ema_fraction * total_steps))
    if not (config.ema or config.ema_fraction):
        return None
    return Ema(
        decay=decay,
        every=config.ema_every,
        rise=config.ema_rise,
        copy_steps=round(config.warmup_fraction * total_steps),
        total_steps=total_steps,
        write_back=config.lookahead,
    )
