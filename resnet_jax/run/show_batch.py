"""A picture of a training batch, as the network gets it."""

from pathlib import Path

import jax
import numpy as np

from resnet_jax.analysis.plots.images import draw_batch
from resnet_jax.config.checks import check_config
from resnet_jax.config.needs import check_new_run
from resnet_jax.config.options import Config, uses_masks
from resnet_jax.data.build import build_preprocessing, build_source, build_train_loader
from resnet_jax.data.build_masks import build_mask_train_loader, crop_of, open_masks
from resnet_jax.data.build_sizes import build_sizes, image_size_of
from resnet_jax.data.mask_checks import check_masks
from resnet_jax.inference.segment import overlay_mask
from resnet_jax.run.dry_run import augmentation
from resnet_jax.run.initial import read_initial, with_preprocessing_of
from resnet_jax.runtime.sharding import data_mesh


def show_batch(config: Config, step: int = 0) -> Path:
    """Draw the batch of a training step to WORKDIR/batch.png; return the path.

    Args:
        config: of the training.
        step: steps done before the batch.

    Raises:
        InputError: something in the config or the data cannot be used.
    """
    check_config(config)
    check_new_run(config)
    config = with_preprocessing_of(read_initial(config), config)
    coding = None
    if uses_masks(config):
        source = open_masks(config, "train")
        coding, crop = source.coding, crop_of(config, check_masks(source, 0).sizes)
        loader = build_mask_train_loader(source, config, crop, data_mesh())
    else:
        source = build_source(config, "train")
        sizes = build_sizes(config, image_size_of(source, config), len(source))
        loader = build_train_loader(source, config, sizes, data_mesh())
    (raw,) = loader.batches(step, step + 1)
    raw.pop("skipped", None)
    batch = jax.device_get(jax.jit(loader.prepare)(raw, step))
    preprocessing = build_preprocessing(config, 0)
    images = np.clip(batch["image"] * np.array(preprocessing.std) + np.array(preprocessing.mean), 0, 1)
    if coding is None:
        classes = np.arange(len(source.class_names))
        targets = batch.get("target", (batch["label"][:, None] == classes).astype(np.float32))
        labels = ["\n".join(_shares(target, source.class_names)) for target in targets]
        title = f"{augmentation(config)}, {images.shape[1]} px"
    else:
        pairs = zip((255 * images).astype(np.uint8), batch["label"].astype(np.uint8), strict=True)
        images = np.stack([overlay_mask(image, label, coding) for image, label in pairs]) / 255
        labels = [""] * len(images)
        title = "pictures under their masks"
    path = Path(config.workdir) / "batch.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_batch(images, labels, path, f"{config.recipe}: {title}" if config.recipe else title)
    return path


def _shares(target: np.ndarray, names: tuple[str, ...]) -> list[str]:
    """Return the classes of a target, the largest first, with their shares where there are two."""
    order = [k for k in np.argsort(-target) if target[k] >= 0.005]
    return [f"{names[k]} {target[k]:.0%}" if len(order) > 1 else names[k] for k in order]
