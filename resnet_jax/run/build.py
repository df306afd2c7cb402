"""The parts of a training run that a config describes, put together."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import optax
from flax import linen as nn
from jax.sharding import Mesh

from resnet_jax.config.options import Config
from resnet_jax.data.build import build_eval_loader, build_sizes, build_train_loader, image_size_of, plain_images
from resnet_jax.data.loader import Loader
from resnet_jax.data.resolution import FixedSize, ProgressiveSize
from resnet_jax.data.sources.load import Source, load_source
from resnet_jax.models.build import build_model, check_classifier
from resnet_jax.models.resnet.scan import ScanGroup
from resnet_jax.optim.build import build_ema, build_optimizer, build_schedule, training_steps
from resnet_jax.optim.ema import Ema
from resnet_jax.runtime.sharding import data_mesh
from resnet_jax.training.loop import Interval
from resnet_jax.training.losses import Loss, make_loss


@dataclass(frozen=True)
class Run:
    """The parts of a training run, settled.

    Attributes:
        config: what they were made from.
        mesh: the devices.
        model: the network.
        scan_groups: blocks whose state is trained stacked.
        tx: the optimizer.
        schedule: learning rate of every step, from 0.
        training: batches of the training set.
        testing: one pass over the test set.
        num_train: examples in the training set.
        num_test: examples in the test set.
        class_names: K names, in the order of the labels.
        image_size: pixels a side of what the network sees in evaluation.
        size_at: step -> the same in training.
        loss: what is minimized.
        average: how the average of the weights follows them, if one is kept.
        settle: the network's own first variables, from its random ones: a layer that is computed from images.
        total_steps: length of the training.
        eval_every: in steps; an epoch need not be a whole number of them.
        checkpoint_every: in steps.
    """

    config: Config
    mesh: Mesh
    model: nn.Module
    scan_groups: tuple[ScanGroup, ...]
    tx: optax.GradientTransformation
    schedule: optax.Schedule
    training: Loader
    testing: Loader
    num_train: int
    num_test: int
    class_names: tuple[str, ...]
    image_size: int
    size_at: FixedSize | ProgressiveSize
    loss: Loss
    average: Ema | None
    settle: Callable[[Any], Any] | None
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
    test_set = load_source(config.dataset, "val", data_dir, config.eval_image_size or config.image_size)
    train_size = image_size_of(train_set, config)
    image_size = config.eval_image_size or train_size
    total_steps = training_steps(config, len(train_set))
    eval_every = config.eval_every or Fraction(len(train_set), config.batch_size)
    schedule = build_schedule(config, total_steps)
    model = build_model(config, len(train_set.class_names))
    size_at = build_sizes(config, train_size, len(train_set))
    for size in sorted({image_size, size_at(0), size_at(total_steps)}):
        check_classifier(model, config.model, size)
    return Run(
        config=config,
        mesh=mesh,
        model=model,
        scan_groups=build_scan_groups(model, config),
        tx=build_optimizer(config, schedule, total_steps),
        schedule=schedule,
        training=build_train_loader(train_set, config, size_at, mesh),
        testing=build_eval_loader(test_set, config, image_size, mesh),
        num_train=len(train_set),
        num_test=len(test_set),
        class_names=tuple(train_set.class_names),
        image_size=image_size,
        size_at=size_at,
        loss=build_loss(config),
        average=build_ema(config, total_steps),
        settle=build_settle(model, train_set, config, train_size),
        total_steps=total_steps,
        eval_every=eval_every,
        checkpoint_every=config.checkpoint_every or eval_every,
    )


# Optimizers that treat every value of an array alike, so that arrays may as well be stacked; the others look at an
# array's norm, or orthogonalize it.
ELEMENTWISE = ("sgd", "adamw", "rmsprop")


def build_scan_groups(model: Any, config: Config) -> tuple[ScanGroup, ...]:
    """The blocks that are trained stacked: those of the network's loops, if the optimizer need not tell them apart."""
    alike = config.optimizer in ELEMENTWISE and not config.adaptive_clip and config.layer_decay == 1
    return model.scan_groups() if config.scan and alike and hasattr(model, "scan_groups") else ()


# airbench computes its first layer from this many images.
SETTLE_IMAGES = 5000


def build_settle(model: Any, source: Source, config: Config, image_size: int) -> Callable[[Any], Any] | None:
    """How a network gets what it computes from training images before the first step; None: it computes nothing."""
    if not hasattr(model, "whiten"):
        return None
    return lambda variables: model.whiten(variables, plain_images(source, config, image_size, SETTLE_IMAGES))


def build_loss(config: Config) -> Loss:
    """What a config minimizes."""
    return make_loss(
        config.loss,
        smoothing=config.label_smoothing,
        threshold=config.target_threshold if config.target_threshold >= 0 else None,
        distill_weight=config.distill_weight if config.teacher else 0.0,
        temperature=config.temperature,
    )
