"""The task of a config."""

from collections.abc import Sequence

from resnet_jax.config.options import Config, uses_masks
from resnet_jax.tasks.classification import CLASSIFICATION
from resnet_jax.tasks.segmentation import segmentation
from resnet_jax.tasks.task import Task


def build_task(config: Config, class_names: Sequence[str], *, binary: bool = False) -> Task:
    """Return the task of a config.

    Args:
        config: of the run.
        class_names: of its data.
        binary: of masks, classes may overlap.
    """
    if not uses_masks(config):
        return CLASSIFICATION
    return segmentation(class_names, config.threshold if binary else None)
