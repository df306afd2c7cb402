"""The parts that a config describes: network, learning rate, optimizer, data."""

from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.sharding import Mesh

from resnet_jax.analysis.counts import abstract_variables
from resnet_jax.config import Config
from resnet_jax.data.sources import ArraySource, Source, load_source
from resnet_jax.errors import InputError
from resnet_jax.inputs import Feed, eval_feed, train_feed
from resnet_jax.networks.registry import create_model
from resnet_jax.training.loop import Interval
from resnet_jax.training.optim import make_optimizer
from resnet_jax.training.schedules import make_schedule
from resnet_jax.training.state import data_mesh


def build_model(config: Config, num_classes: int) -> nn.Module:
    """The network of a config; options left empty there are the network's own.

    Raises:
        InputError: no network named, or an option that it does not have.
    """
    if not config.model:
        raise InputError("name a network: --model=NAME or --depth=LAYERS")
    names = ("bn_group_size", "shortcut", "stem", "norm", "stochastic_depth", "width")
    options = {name: getattr(config, name) for name in names if getattr(config, name)}
    if config.bn_group_size and config.batch_size % config.bn_group_size:
        raise InputError(f"--bn_group_size={config.bn_group_size} does not divide --batch_size={config.batch_size}")
    build = partial(create_model, config.model, num_classes=num_classes, dtype=jnp.dtype(config.dtype).type, **options)
    model = build()
    if config.zero_init and getattr(model, "shortcut", "none") != "none":  # a recipe's wish, where there are blocks
        return build(zero_init=True)
    return model


def build_schedule(config: Config, total_steps: int) -> optax.Schedule:
    """The learning rate of every step; the peak is scaled with the batch."""
    scale = config.batch_size / config.reference_batch_size if config.reference_batch_size else 1.0
    peak = config.learning_rate * scale
    return make_schedule(
        config.schedule,
        peak=peak,
        total_steps=total_steps,
        warmup_steps=round(config.warmup_fraction * total_steps),
        warmup_start=min(config.warmup_learning_rate, peak),
        warmup=config.warmup,
        milestones=config.milestones,
    )


def build_optimizer(config: Config, schedule: optax.Schedule) -> optax.GradientTransformation:
    """The optimizer of a config."""
    return make_optimizer(
        config.optimizer,
        schedule,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        # What is frozen must not decay either.
        decay_norm_and_bias=config.decay_norm_and_bias and config.norm != "frozen",
    )


@dataclass(frozen=True)
class Run:
    """The parts of a training run, settled.

    Attributes:
        config: what they were made from.
        mesh: the devices.
        model: the network.
        tx: the optimizer.
        schedule: learning rate of every step, from 0.
        training: batches of the training set.
        testing: one pass over the test set.
        num_train: examples in the training set.
        num_test: examples in the test set.
        class_names: K names, in the order of the labels.
        image_size: pixels a side of what the network sees.
        total_steps: length of the training.
        eval_every: in steps; an epoch need not be a whole number of them.
        checkpoint_every: in steps.
    """

    config: Config
    mesh: Mesh
    model: nn.Module
    tx: optax.GradientTransformation
    schedule: optax.Schedule
    training: Feed
    testing: Feed
    num_train: int
    num_test: int
    class_names: tuple[str, ...]
    image_size: int
    total_steps: int
    eval_every: Interval
    checkpoint_every: Interval

    def epoch(self, step: int) -> float:
        """Passes over the training set that `step` steps make."""
        return step * self.config.batch_size / self.num_train


def build_run(config: Config) -> Run:
    """Load the data and build every part.

    Raises:
        InputError: something in the config or the data cannot be used.
    """
    mesh = data_mesh()
    data_dir = config.data_dir or None
    train_set = load_source(config.dataset, "train", data_dir, config.image_size)
    test_set = load_source(config.dataset, "val", data_dir, config.image_size)
    image_size = image_size_of(train_set, config)
    steps_per_epoch = len(train_set) / config.batch_size
    total_steps = config.steps or max(1, round(config.epochs * steps_per_epoch))
    eval_every = config.eval_every or Fraction(len(train_set), config.batch_size)
    schedule = build_schedule(config, total_steps)
    model = build_model(config, len(train_set.class_names))
    check_classifier(model, config.model, image_size)
    return Run(
        config=config,
        mesh=mesh,
        model=model,
        tx=build_optimizer(config, schedule),
        schedule=schedule,
        training=train_feed(train_set, config, image_size, mesh),
        testing=eval_feed(test_set, config, image_size, mesh),
        num_train=len(train_set),
        num_test=len(test_set),
        class_names=tuple(train_set.class_names),
        image_size=image_size,
        total_steps=total_steps,
        eval_every=eval_every,
        checkpoint_every=config.checkpoint_every or eval_every,
    )


def image_size_of(source: Source, config: Config) -> int:
    """Pixels a side of what the network sees.

    Raises:
        InputError: photographs, which come in all sizes, and no --image_size.
    """
    if config.image_size:
        return config.image_size
    if isinstance(source, ArraySource):
        return source.images.shape[1]
    raise InputError(f"--image_size=0: the images of --dataset={config.dataset} have no common size; name one")


def check_classifier(model: nn.Module, name: str, image_size: int) -> None:
    """Refuse a network that does not answer an image with one class.

    Raises:
        InputError: it answers every pixel, or cannot take images of this size.
    """
    image = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    variables = abstract_variables(model, image_size)
    logits: Any = jax.eval_shape(lambda v, x: model.apply(v, x, train=False), variables, image)
    if len(logits.shape) != 2:
        raise InputError(f"--model={name} classifies pixels, not images; this command trains classifiers")
