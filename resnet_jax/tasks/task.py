"""The task of a network as a value, loss and metrics: one loop, one checkpoint and one log serve every task."""

from collections.abc import Callable
from dataclasses import dataclass

from resnet_jax.training.losses import Loss
from resnet_jax.training.metrics import Sums
from resnet_jax.training.step import SumsOf


@dataclass(frozen=True)
class Task:
    """The task of a network: classification of images, or of pixels.

    Attributes:
        zero_sums: () -> the metric sums over no training examples.
        train_sums: (logits, batch, losses [B]) -> a training batch's sums.
        eval_sums: likewise, of an evaluation batch; it may have more.
        eval_loss: (logits, batch) -> [B], the loss that evaluations report.
        metrics: sums -> the metrics of a row of the log, as Python numbers.
        averaged: metrics that are also reported of the average of the weights.
        pixels: the network classifies pixels.
    """

    zero_sums: Callable[[], Sums]
    train_sums: SumsOf
    eval_sums: SumsOf
    eval_loss: Loss
    metrics: Callable[[Sums], dict[str, float]]
    averaged: tuple[str, ...]
    pixels: bool = False
