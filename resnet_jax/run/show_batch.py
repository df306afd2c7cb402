"""A batch as the network sees it, as a picture."""

from pathlib import Path

import jax
import numpy as np

from resnet_jax.analysis.plots.images import draw_batch
from resnet_jax.config.checks import check_config
from resnet_jax.config.options import Config
from resnet_jax.data.build import build_sizes, build_train_loader, image_size_of, preprocessing
from resnet_jax.data.sources.load import load_source
from resnet_jax.run.dry_run import augmentation
from resnet_jax.runtime.sharding import data_mesh


def show_batch(config: Config, step: int = 0) -> Path:
    """Draws the batch of a training step to WORKDIR/batch.png.

    Args:
        config: of the training.
        step: steps done before it.

    Returns:
        The picture's path.

    Raises:
        InputError: something in the config or the data cannot be used.
    """
    check_config(config)
    source = load_source(config.dataset, "train", config.data_dir or None, config.image_size)
    sizes = build_sizes(config, image_size_of(source, config), len(source))
    loader = build_train_loader(source, config, sizes, data_mesh())
    (fed,) = loader.batches(step, step + 1)
    fed.pop("skipped", None)
    batch = jax.device_get(jax.jit(loader.prepare)(fed, step))
    seen = preprocessing(config, 0)
    images = np.clip(batch["image"] * np.array(seen.std) + np.array(seen.mean), 0, 1)
    targets = batch.get("target", np.eye(len(source.class_names))[batch["label"]])
    labels = ["\n".join(_shares(target, source.class_names)) for target in targets]
    path = Path(config.workdir) / "batch.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    told = f"{augmentation(config)}, {images.shape[1]} px"
    draw_batch(images, labels, path, f"{config.recipe}: {told}" if config.recipe else told)
    return path


def _shares(target: np.ndarray, names: tuple[str, ...]) -> list[str]:
    """The classes of a target, the largest first, with their shares where there are two."""
    order = [k for k in np.argsort(-target) if target[k] >= 0.005]
    return [f"{names[k]} {target[k]:.0%}" if len(order) > 1 else names[k] for k in order]
