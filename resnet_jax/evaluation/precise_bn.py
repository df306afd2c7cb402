"""Precise batch normalization: statistics averaged over training images, instead of running averages of a few batches.

A running average forgets: at momentum 0.9, nine tenths of it are the last 22 batches, each seen by other parameters.
The authors of He et al. 2015 computed the statistics of their released models anew after training; Wu and Johnson 2021
(arXiv:2105.07576, section 3) measure what that is worth.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import flatten_dict

from resnet_jax.data.build import build_source, build_train_loader
from resnet_jax.data.build_sizes import last_size
from resnet_jax.data.notices import print_notice
from resnet_jax.data.resolution import FixedSize
from resnet_jax.errors import InputError
from resnet_jax.evaluation.training_images import open_where_they_lie
from resnet_jax.inference.restore import frozen_at
from resnet_jax.inference.trained import Trained
from resnet_jax.layers.frozen_statistics import keep_statistics
from resnet_jax.layers.norm import BatchNorm
from resnet_jax.runtime.sharding import data_mesh, replicated
from resnet_jax.training.kept_statistics import kept_statistics
from resnet_jax.training.skipped import report_skipped


def precise_batch_stats(
    model: nn.Module,
    variables: Any,
    batches: Iterable[jax.Array],
    seed: int = 0,
    *,
    kept: Callable[[str], bool] | None = None,
) -> Any:
    """Return mean and biased variance of the input of each normalization, over all images of the batches.

    One pass: every layer normalizes by the statistics of its own batch (or group of the batch), as in training, and so
    the layers above see what they saw there. The mean is that of the batches' means. The variance is that of all values
    about that mean, E[x²] - E[x]²: the mean of the batches' variances would leave out how far the batches' means lie
    apart, and come out too small, by (n - 1) / n for n independent values a batch, which matters where n is small.
    Biased, as flax's running variance is. Both are accumulated about the mean so far, where the difference of two large
    numbers would lose digits.

    Frozen layers keep what they have, and so does every other statistic, such as a whitening kernel.

    Args:
        model: the network.
        variables: its variables; only the parameters matter where nothing is frozen.
        batches: normalized images [B,H,W,3], augmented as in training; sizes of the batches may differ.
        seed: of what is random in training (dropout).
        kept: the function from the path of a normalization's bias to whether it keeps its statistics.

    Returns:
        What belongs in `variables["batch_stats"]`; all leaves as there.

    Raises:
        ValueError: there are no batches.
    """
    step = jax.jit(partial(_add_batch, model, kept or (lambda path: False), variables["params"]))
    stats, count, key = variables.get("batch_stats", {}), 0, jax.random.key(seed)
    for number, images in enumerate(batches):
        share = len(images) / (count + len(images))
        stats = step(stats, images, jnp.float32(share), jax.random.fold_in(key, number))
        count += len(images)
    if not count:
        raise ValueError("there are no images to take the statistics of")
    return stats


def _add_batch(
    model: nn.Module,
    kept: Callable[[str], bool],
    params: Any,
    stats: Any,
    images: jax.Array,
    share: jax.Array,
    key: jax.Array,
) -> Any:
    """Return the statistics of all images so far, of which this batch is `share`."""
    # Within training mode no layer but the frozen ones reads its running statistics, so that they can carry the sums.
    with keep_statistics(kept), nn.intercept_methods(partial(_accumulate, share)):
        _, updates = model.apply(
            {"params": params, "batch_stats": stats},
            images,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": key},
        )
    return updates.get("batch_stats", {})


def _accumulate(share: jax.Array, layer: Callable, args: Any, kwargs: Any, context: Any) -> Any:
    """Call a layer; if it is a normalization by batch, its running statistics become those of all images so far."""
    module = context.module
    if not isinstance(module, BatchNorm) or context.method_name != "__call__":
        return layer(*args, **kwargs)
    mean, var = (module.get_variable("batch_stats", name) for name in ("mean", "var"))
    outputs = layer(*args, **kwargs)
    if module.use_running_average or module.frozen:
        return outputs
    x = args[0]
    means, variances = module.statistics(x)
    batch_mean = means.mean(axis=0)
    batch_var = variances.mean(axis=0) + jnp.square(means - batch_mean[None]).mean(axis=0)
    rest = 1 - share  # exactly 0 at the first batch, which leaves nothing of the old statistics
    between = share * rest * jnp.square(batch_mean - mean)
    module.put_variable("batch_stats", "mean", rest * mean + share * batch_mean)
    module.put_variable("batch_stats", "var", rest * var + share * batch_var + between)
    return outputs


def with_precise_stats(trained: Trained, num_images: int, *, data_dir: str = "", num_workers: int = -1) -> Trained:
    """Return the network with statistics averaged over training images, augmented and in batches as in training.

    Normalizations that kept their statistics in the training (of frozen layers, or all with `freeze_statistics`) keep
    them. An image that cannot be read is named in a line and replaced by the next, as in training.

    Args:
        trained: network of a run; the training images of other weights are not known.
        num_images: rounded up to whole batches of those that the run normalized together (and these to what the
            devices can share).
        data_dir: where the training images may have been moved to: it counts where the run's own cannot be read.
        num_workers: as in `Config`.

    Raises:
        InputError: it is not a run's, the number is not positive, or the images of the training cannot be read.
    """
    if trained.run is None:
        raise InputError(f"--precise_bn goes with runs: the training images of {trained.source} are not known")
    if num_images < 1:
        raise InputError(f"--precise_bn={num_images}: take the number of training images, 1 or more")
    mesh = data_mesh()
    run = trained.run
    share = math.lcm(mesh.devices.size, run.bn_group_size or 1)
    config = dataclasses.replace(
        run,
        batch_size=-(-run.batch_size // (run.accumulate * share)) * share,
        num_workers=num_workers,
    )
    _, source = open_where_they_lie(
        trained, data_dir, lambda folder: build_source(dataclasses.replace(config, data_dir=folder), "train")
    )
    frozen = frozen_at(trained.step, run, len(source))
    kept = kept_statistics(frozen, of_weights=run.freeze_statistics, has_decoder=hasattr(trained.model, "backbone"))
    if not changes_statistics(trained, kept):
        print_notice("--precise_bn changes nothing: the run kept the statistics of all normalizations, or has none")
        return trained
    loader = build_train_loader(source, config, FixedSize(last_size(source, config)), mesh)
    prepare = jax.jit(loader.prepare)
    steps = -(-num_images // config.batch_size)
    batches = report_skipped(enumerate(loader.batches(0, steps)), set())
    images = (prepare(batch, step)["image"] for step, batch in batches)
    variables = jax.device_put(trained.variables, replicated(mesh))
    stats = precise_batch_stats(trained.model, variables, images, config.seed, kept=kept)
    return dataclasses.replace(trained, variables={**variables, "batch_stats": stats})


def changes_statistics(trained: Trained, kept: Callable[[str], bool] | None) -> bool:
    """Return whether a network of a run has normalizations whose statistics it did not keep in its training."""
    if trained.run is not None and trained.run.norm == "frozen":
        return False
    means = [path for path in flatten_dict(trained.variables.get("batch_stats", {})) if path[-1] == "mean"]
    return any(kept is None or not kept("/".join((*path[:-1], "bias"))) for path in means)
