"""Evaluation of a network that classifies pixels, on whole pictures or tiles."""

from dataclasses import dataclass
from typing import Any

import jax

from resnet_jax.data.loader import whole_masks_loader, worker_count
from resnet_jax.data.mask_checks import absent_classes, check_masks
from resnet_jax.data.notices import print_notice
from resnet_jax.data.sources.masks import MaskSource, open_masks_uncoded
from resnet_jax.errors import InputError
from resnet_jax.evaluation.image_set import Split
from resnet_jax.inference.segment import coding_of, short_side_of, threshold_of
from resnet_jax.inference.tiles import jit_logits
from resnet_jax.inference.trained import Trained
from resnet_jax.inference.tta import build_apply
from resnet_jax.runtime.memory import memory_remedy
from resnet_jax.runtime.sharding import data_mesh, replicated
from resnet_jax.tasks.segmentation import segmentation
from resnet_jax.tasks.task import Task
from resnet_jax.training import loop
from resnet_jax.training.metrics import Sums


@dataclass(frozen=True)
class Tiling:
    """Parts of pictures that are computed one after the other.

    Attributes:
        tile: pixels a side; 0: whole pictures.
        margin: pixels seen around each.
    """

    tile: int = 0
    margin: int = 32


WHOLE = Tiling()


def open_masks_for(trained: Trained, dataset: str = "", data_dir: str = "", split: Split = "val") -> MaskSource:
    """Open the pictures and masks that a network is to be evaluated on; options that are not given are the run's own.

    Raises:
        InputError: they are missing, or are not those of the network.
    """
    run = trained.run
    name = dataset or (run.dataset if run is not None else "masks")
    folder = data_dir or (run.data_dir if run is not None and not dataset else "")
    return open_masks_uncoded(split, folder or None, name).with_coding(coding_of(trained))


def task_of(trained: Trained) -> Task:
    """Return the task of a network that classifies pixels."""
    coding = coding_of(trained)
    return segmentation(coding.class_names, threshold_of(trained, coding))


def evaluate_masks(
    trained: Trained,
    *,
    dataset: str = "",
    data_dir: str = "",
    split: Split = "val",
    views: str = "",
    short: int | None = None,
    tiling: Tiling = WHOLE,
    batch_size: int = 0,
    num_workers: int = -1,
) -> dict[str, Any]:
    """Return the metrics of `pixel_metrics` over every picture of a set, each pixel counted once.

    Args:
        trained: the network.
        dataset: "masks" or "masks:NAME" of TFDS; "" is that of the training.
        data_dir: ROOT; "" is that of the training.
        split: "val", "train" or "test".
        views: "center", "flip", or "" for the network's own.
        short: shorter side to which pictures and masks are resized, 0 for their own; None is the run's.
        tiling: of the pictures.
        batch_size: pictures of one size at once; 0 is the run's own. The result does not depend on it.
        num_workers: as in `Config`.

    Raises:
        InputError: other views, the pictures or masks cannot be used, or the memory does not suffice.
    """
    if views not in ("", "center", "flip"):
        raise InputError(f"--protocol={views} is for networks that classify images; of pixels take flip")
    rows = trained.images_at_once(batch_size)
    source = open_masks_for(trained, dataset, data_dir, split)
    facts = check_masks(source, worker_count(num_workers, len(source)))
    if absent := absent_classes(facts, source.class_names):
        print_notice(f"{source.place}: no pixel is of class {', '.join(absent)}")
    mesh, task = data_mesh(), task_of(trained)
    loader = whole_masks_loader(
        source,
        facts.sizes,
        trained.preprocessing,
        short=short_side_of(trained) if short is None else short,
        batch_size=rows,
        num_workers=num_workers,
        mesh=mesh,
    )
    logits_of = jit_logits(build_apply(trained.model, views or trained.views), tiling.tile, tiling.margin)
    variables = jax.device_put(trained.variables, replicated(mesh))
    prepare = jax.jit(loader.prepare)
    sums_of = jax.jit(lambda logits, batch: task.eval_sums(logits, batch, task.eval_loss(logits, batch)))

    def step(batch: Any) -> Sums:
        prepared = prepare(batch)
        return sums_of(logits_of(variables, prepared["image"]), {n: prepared[n] for n in ("label", "mask")})

    with memory_remedy(lambda: "take a smaller --batch_size, or tiles, --tile=512"):
        return task.metrics(loop.sum_batches(loader.batches(), step))
