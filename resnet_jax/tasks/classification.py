"""Classification of images: one label an image, top-1 and top-5."""

from resnet_jax.tasks.task import Task
from resnet_jax.training.losses import cross_entropy
from resnet_jax.training.metrics import classification_sums, mean_metrics, zero_sums

CLASSIFICATION = Task(
    zero_sums=zero_sums,
    train_sums=classification_sums,
    eval_sums=classification_sums,
    eval_loss=cross_entropy,
    metrics=mean_metrics,
    averaged=("loss", "top1", "top5"),
)
