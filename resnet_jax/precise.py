"""A run's network with the batch statistics of its training images, taken anew."""

import dataclasses
import math

import jax

from resnet_jax.build import image_size_of
from resnet_jax.config_checks import progressive_sizes
from resnet_jax.data.sizes import FixedSize
from resnet_jax.data.sources import load_source
from resnet_jax.errors import InputError
from resnet_jax.evaluation.precise_bn import precise_batch_stats
from resnet_jax.inputs import train_feed
from resnet_jax.trained import Trained
from resnet_jax.training.state import data_mesh, replicated


def with_precise_stats(trained: Trained, num_images: int, *, data_dir: str = "", num_workers: int = -1) -> Trained:
    """The network with statistics averaged over training images, augmented and in batches as in training.

    Args:
        trained: of a run; what a set of weights was trained on is not known.
        num_images: rounded up to whole batches of the run's size (and that to what the devices can share).
        data_dir: where the training images are; empty is where they were in training.
        num_workers: as in `Config`.

    Raises:
        InputError: it is no run's, the number is not positive, or the images cannot be read.
    """
    if not trained.config.workdir:
        raise InputError(f"--precise_bn goes with runs: on what images {trained.source} was trained is not known")
    if num_images < 1:
        raise InputError(f"--precise_bn={num_images}: take the number of training images, 1 or more")
    mesh = data_mesh()
    share = math.lcm(mesh.devices.size, trained.config.bn_group_size or 1)
    config = dataclasses.replace(
        trained.config,
        batch_size=-(-trained.config.batch_size // share) * share,
        data_dir=data_dir or trained.config.data_dir,
        num_workers=num_workers,
    )
    source = load_source(config.dataset, "train", config.data_dir or None, config.image_size)
    # Of images that grow in training, the last size: it is the one that the parameters were left with.
    sizes = progressive_sizes(config.progressive)
    feed = train_feed(source, config, FixedSize(sizes[1] if sizes else image_size_of(source, config)), mesh)
    prepare = jax.jit(feed.prepare)
    steps = -(-num_images // config.batch_size)
    images = (prepare(batch, step)["image"] for step, batch in enumerate(feed.batches(0, steps)))
    variables = jax.device_put(trained.variables, replicated(mesh))
    stats = precise_batch_stats(trained.model, variables, images, config.seed)
    return dataclasses.replace(trained, variables={**variables, "batch_stats": stats})
