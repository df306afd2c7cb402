"""A training run, built from its config: data, network, optimizer, loss and length."""

from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from flax import linen as nn
from jax.sharding import Mesh

from resnet_jax.config.options import Config, uses_masks
from resnet_jax.data.build import Data, build_data
from resnet_jax.data.build_masks import build_mask_data
from resnet_jax.errors import InputError
from resnet_jax.models.build import build_model, check_batch_norm, check_classifier
from resnet_jax.models.resnet.scan import ScanGroup
from resnet_jax.optim.build import Optimizer, build_length, build_optimizer, build_thaw
from resnet_jax.runtime.sharding import data_mesh
from resnet_jax.tasks.build import build_task
from resnet_jax.tasks.task import Task
from resnet_jax.training.accumulate import check_micro_batches
from resnet_jax.training.loop import Interval
from resnet_jax.training.losses import Loss, balanced_weights, make_loss
from resnet_jax.training.pixel_losses import class_weights_of, make_pixel_loss

# Optimizers that treat every value of an array alike, so that arrays may as well be stacked; the others use an array's
# norm, or orthogonalize it.
ELEMENTWISE = ("sgd", "adamw", "rmsprop")


@dataclass(frozen=True)
class Run:
    """The parts of a training run.

    Attributes:
        config: every option.
        mesh: the devices.
        data: the loaders of the training and the test set, and facts about both.
        model: the network.
        optimizer: learning rate, update and average of the weights.
        task: what the network is trained for.
        loss: minimized over the training set.
        total_steps: length of the training.
        initial: variables on the host to start from; None: a new network's.
    """

    config: Config
    mesh: Mesh
    data: Data
    model: nn.Module
    optimizer: Optimizer
    task: Task
    loss: Loss
    total_steps: int
    initial: Any = None

    @property
    def eval_every(self) -> Interval:
        """Steps between evaluations; an epoch need not be a whole number of them."""
        return self.config.eval_every or Fraction(self.data.num_train, self.config.batch_size)

    @property
    def checkpoint_every(self) -> Interval:
        """Steps between checkpoints; as evaluations, or a quarter of a training that is evaluated at its end alone."""
        usual = self.eval_every if self.eval_every <= self.total_steps else Fraction(self.total_steps, 4)
        return self.config.checkpoint_every or usual

    @property
    def thaw_step(self) -> int:
        """Steps after which what --freeze names begins to learn; 0: it never does, or nothing is frozen."""
        return build_thaw(self.config, self.data.num_train)

    @property
    def scan_groups(self) -> tuple[ScanGroup, ...]:
        """Blocks whose state is trained stacked."""
        return build_scan_groups(self.model, self.config)

    def epoch(self, step: int) -> float:
        """Return the passes over the training set that `step` steps make."""
        return step * self.config.batch_size / self.data.num_train


def build_run(config: Config) -> Run:
    """Load the data and build every part of a run.

    Raises:
        InputError: something in the config or the data cannot be used.
    """
    mesh = data_mesh()
    data = build_mask_data(config, mesh) if uses_masks(config) else build_data(config, mesh)
    task = build_task(config, data.class_names, binary=data.coding is not None and data.coding.binary)
    total_steps = build_length(config, data.num_train)
    model = build_model(config, len(data.class_names))
    check_network(model, config, {data.train_size_at(0), data.train_size_at(total_steps)}, {data.image_size})
    check_micro_batches(config.batch_size, config.accumulate, config.bn_group_size, mesh.devices.size)
    if config.steps_per_call > 1 and data.train.requests is None:
        raise InputError(
            f"--steps_per_call={config.steps_per_call} needs images that the devices hold: digits or CIFAR, "
            "without --auto_augment, --color_jitter, --lighting and --progressive; take --steps_per_call=1"
        )
    return Run(
        config=config,
        mesh=mesh,
        data=data,
        model=model,
        optimizer=build_optimizer(config, data.num_train),
        task=task,
        loss=build_loss(config, data),
        total_steps=total_steps,
    )


def check_network(model: Any, config: Config, train_sizes: Collection[int], eval_sizes: Collection[int] = ()) -> None:
    """Refuse a network that cannot be trained on images of these sizes, in pixels a side, or evaluated.

    Raises:
        InputError: as `check_classifier` and `check_batch_norm`.
    """
    for size in sorted({*train_sizes, *eval_sizes}):
        check_classifier(model, config.model, size, pixels=uses_masks(config))
    for size in () if config.freeze_statistics else sorted(train_sizes):
        check_batch_norm(model, config, size)


def build_scan_groups(model: Any, config: Config) -> tuple[ScanGroup, ...]:
    """Return the network's scan groups, if the optimizer treats stacked arrays as it treats each; () otherwise."""
    elementwise = config.optimizer in ELEMENTWISE and not config.adaptive_clip and config.layer_decay == 1
    return model.scan_groups() if config.scan and elementwise and hasattr(model, "scan_groups") else ()


def build_loss(config: Config, data: Data) -> Loss:
    """Return the loss of a config, on its training set."""
    if data.coding is not None and data.class_pixels is not None:
        smoothing, binary = config.label_smoothing, data.coding.binary
        pixel_weights = class_weights_of(config.class_weights, *data.class_pixels, binary=binary)
        return make_pixel_loss(config.loss, binary=binary, smoothing=smoothing, class_weights=pixel_weights)
    weights = balanced_weights(data.train_labels(), len(data.class_names)) if config.class_weights else None
    return make_loss(
        config.loss,
        smoothing=config.label_smoothing,
        threshold=config.target_threshold if config.target_threshold >= 0 else None,
        distill_weight=config.distill_weight if config.teacher else 0.0,
        temperature=config.temperature,
        class_weights=weights,
    )
