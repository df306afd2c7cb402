"""The parts of a training run that a config describes, put together."""

from collections.abc import Callable
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
from resnet_jax.build_training import build_average, build_loss, build_optimizer, build_schedule, training_steps
from resnet_jax.config import Config
from resnet_jax.data.sizes import FixedSize, ProgressiveSize
from resnet_jax.data.sources import ArraySource, Source, load_source
from resnet_jax.errors import InputError
from resnet_jax.evaluation.views import averaged_logits
from resnet_jax.inputs import Feed, build_sizes, eval_feed, plain_images, train_feed
from resnet_jax.networks.registry import create_model
from resnet_jax.networks.stacked import Loop
from resnet_jax.training.average import Average
from resnet_jax.training.loop import Interval
from resnet_jax.training.losses import Loss
from resnet_jax.training.state import data_mesh

# Options of networks that are flags too; left empty, they are the network's own.
NETWORK_OPTIONS = (
    *("bn_group_size", "shortcut", "stem", "norm", "stochastic_depth", "width", "dropout"),
    *("scan", "remat"),
)


def build_model(config: Config, num_classes: int) -> nn.Module:
    """The network of a config; options left empty there are the network's own.

    Raises:
        InputError: no network named, or an option that it does not have.
    """
    if not config.model:
        raise InputError("name a network: --model=NAME or --depth=LAYERS")
    options = {name: getattr(config, name) for name in NETWORK_OPTIONS if getattr(config, name)}
    build = partial(create_model, config.model, num_classes=num_classes, dtype=jnp.dtype(config.dtype).type)
    model = build(**options)
    # Wishes of a recipe, where the network has such a thing.
    wishes = {}
    if config.zero_init and getattr(model, "shortcut", "none") != "none" and not getattr(model, "standardise", False):
        wishes["zero_init"] = True
    if config.blur_strides and hasattr(model, "blur_strides"):
        wishes["blur_strides"] = True
    return build(**options, **wishes) if wishes else model


def build_apply(model: nn.Module, views: str) -> Callable[[Any, jax.Array], jax.Array]:
    """What evaluation asks a network: (variables, images [B,H,W,3]) -> logits [B,K], averaged over views of each."""

    def apply(variables: Any, images: jax.Array) -> jax.Array:
        return averaged_logits(lambda x: model.apply(variables, x, train=False), images, views)

    return apply


@dataclass(frozen=True)
class Run:
    """The parts of a training run, settled.

    Attributes:
        config: what they were made from.
        mesh: the devices.
        model: the network.
        loops: blocks whose state is trained stacked.
        tx: the optimizer.
        schedule: learning rate of every step, from 0.
        training: batches of the training set.
        testing: one pass over the test set.
        num_train: examples in the training set.
        num_test: examples in the test set.
        class_names: K names, in the order of the labels.
        image_size: pixels a side of what the network sees in evaluation.
        size_at: step -> the same in training.
        loss: what is minimised.
        average: how the average of the weights follows them, if one is kept.
        settle: the network's own first variables, from its random ones: a layer that is computed from images.
        total_steps: length of the training.
        eval_every: in steps; an epoch need not be a whole number of them.
        checkpoint_every: in steps.
    """

    config: Config
    mesh: Mesh
    model: nn.Module
    loops: tuple[Loop, ...]
    tx: optax.GradientTransformation
    schedule: optax.Schedule
    training: Feed
    testing: Feed
    num_train: int
    num_test: int
    class_names: tuple[str, ...]
    image_size: int
    size_at: FixedSize | ProgressiveSize
    loss: Loss
    average: Average | None
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
        loops=build_loops(model, config),
        tx=build_optimizer(config, schedule, total_steps),
        schedule=schedule,
        training=train_feed(train_set, config, size_at, mesh),
        testing=eval_feed(test_set, config, image_size, mesh),
        num_train=len(train_set),
        num_test=len(test_set),
        class_names=tuple(train_set.class_names),
        image_size=image_size,
        size_at=size_at,
        loss=build_loss(config),
        average=build_average(config, total_steps),
        settle=build_settle(model, train_set, config, train_size),
        total_steps=total_steps,
        eval_every=eval_every,
        checkpoint_every=config.checkpoint_every or eval_every,
    )


# Optimizers that treat every value of an array alike, so that arrays may as well be stacked; the others look at an
# array's norm, or orthogonalise it.
ELEMENTWISE = ("sgd", "adamw", "rmsprop")


def build_loops(model: Any, config: Config) -> tuple[Loop, ...]:
    """The blocks that are trained stacked: those of the network's loops, if the optimizer need not tell them apart."""
    alike = config.optimizer in ELEMENTWISE and not config.adaptive_clip and config.layer_decay == 1
    return model.loops() if config.scan and alike and hasattr(model, "loops") else ()


# airbench computes its first layer from this many images.
SETTLE_IMAGES = 5000


def build_settle(model: Any, source: Source, config: Config, image_size: int) -> Callable[[Any], Any] | None:
    """How a network gets what it computes from training images before the first step; None: it computes nothing."""
    if not hasattr(model, "whiten"):
        return None
    return lambda variables: model.whiten(variables, plain_images(source, config, image_size, SETTLE_IMAGES))


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
