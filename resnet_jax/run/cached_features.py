"""A frozen backbone that is computed once: the head trains on the pooled features of every image, in seconds.

The images are those of the first `--cache_features` epochs, crops and all; a longer training shows their features
again. With as many views as epochs it is the training without the cache, to rounding.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from resnet_jax.config.options import Config
from resnet_jax.data.loader import Loader, resident_train_loader, run_key
from resnet_jax.data.order import Order
from resnet_jax.errors import InputError, InterruptedRunError
from resnet_jax.models.resnet.scan import unrolled, unstack_scan_groups
from resnet_jax.optim.freeze import frozen_by
from resnet_jax.optim.param_paths import by_path
from resnet_jax.run.build import Run
from resnet_jax.run.report import say_once
from resnet_jax.runtime.batch import Batch
from resnet_jax.runtime.sharding import put_whole, replicated
from resnet_jax.runtime.watchdog import beat
from resnet_jax.training.skipped import report_skipped
from resnet_jax.training.state import TrainState

HEAD = "head"


@dataclass(frozen=True)
class HeadAlone:
    """The last layer of a network, applied like the network, to pooled features [B,C] in place of images."""

    num_classes: int

    def apply(self, variables: Any, features: Any, /, **settings: Any) -> Any:
        """Return the features of the network that a training step reads, and its statistics."""
        del settings
        logits = nn.Dense(self.num_classes).apply({"params": variables["params"][HEAD]}, features)
        return {"logits": logits}, {"batch_stats": variables["batch_stats"]}


def check_cache(config: Config, params: Any) -> None:
    """Refuse to cache features that change, or that the head does not read alone.

    Raises:
        InputError: the options do not go together.
    """
    if not config.cache_features:
        return
    option = f"--cache_features={config.cache_features}"
    is_frozen = frozen_by(config.freeze)
    learning = sorted({path.split("/")[0] for path in by_path(params) if not is_frozen(path)})
    if learning != [HEAD]:
        raise InputError(f"{option} needs all but the head frozen; {', '.join(learning[:3])} would learn, see --freeze")
    if set(params[HEAD]) != {"kernel", "bias"} or params[HEAD]["kernel"].ndim != 2:
        raise InputError(f"{option}: {config.model} has no single dense layer after its pooled features; leave it out")
    others = {name: getattr(config, name) for name in ("mixup", "cutmix", "unfreeze_at", "teacher")}
    others |= {"accumulate": config.accumulate > 1}
    if given := [f"--{name}" for name, value in others.items() if value]:
        raise InputError(f"{option} does not go with {', '.join(given)}; leave out one of them")
    if config.sampling or config.repeats > 1:  # an epoch then lacks pictures that a later one has
        remedy = "take --class_weights=balanced" if config.sampling else f"leave --repeats={config.repeats} out"
        raise InputError(f"{option} needs epochs that show every picture once; {remedy}")
    if jax.process_count() > 1:
        raise InputError(f"{option} goes with one process alone; leave it out")


def with_cached_features(
    run: Run, state: TrainState, skipped: set[str], stop_requested: Callable[[int], bool] = lambda step: False
) -> Run:
    """Return the run whose training batches are features of the state's backbone instead of images.

    Args:
        run: the run.
        state: its state, whose backbone is frozen.
        skipped: messages about unreadable images so far; new ones are added. Such an image has the features and the
            label of the next readable one.
        stop_requested: step -> whether a signal asked the run to stop.

    Raises:
        InputError: too many images cannot be read.
        InterruptedRunError: a signal asked for it.
    """
    config, views = run.config, run.config.cache_features
    variables = unstack_scan_groups(state, run.scan_groups).variables
    model: Any = unrolled(run.model)

    @jax.jit
    def features_of(variables: Any, batch: Batch) -> dict[str, jax.Array]:
        prepared = run.data.train.prepare(batch, 0)
        pooled = model.apply(variables, prepared["image"], train=False, features=True)["pooled"]
        kept = {name: prepared[name] for name in ("epoch", "index", "label")}
        return kept | {"features": pooled.astype(jnp.float32)}

    count, size = run.data.num_train, config.batch_size
    say_once(f"computing the features of {count:,} images{f', {views} views of each' if views > 1 else ''}")
    features: np.ndarray | None = None
    labels = np.zeros(count, np.int32)
    readable = np.zeros(count, bool)
    steps = -(-views * count // size)
    for _, batch in report_skipped(enumerate(run.data.train.batches(0, steps), 1), skipped):
        found = jax.device_get(features_of(variables, batch))
        beat()
        if stop_requested(0):
            raise InterruptedRunError(
                "stopped by a signal while features were computed; the same command computes them again, and goes on"
            )
        first_views = found["epoch"] < views
        rows = (found["epoch"] * count + found["index"])[first_views]
        if features is None:
            features = np.zeros((views * count, found["features"].shape[1]), np.float32)
        features[rows] = found["features"][first_views]
        labels[found["index"]], readable[found["index"]] = found["label"], True
    assert features is not None
    instead = next_readable(readable)
    features = features.reshape(views, count, -1)[:, instead].reshape(views * count, -1)
    loader = feature_loader(run, features, labels[instead])
    return dataclasses.replace(run, data=dataclasses.replace(run.data, train=loader))


def next_readable(readable: np.ndarray) -> np.ndarray:
    """Return, for each of N images, itself or the next one that is readable: int64 [N]; the first follows the last."""
    (numbers,) = np.nonzero(readable)
    return numbers[np.searchsorted(numbers, np.arange(len(readable))) % len(numbers)]


def feature_loader(run: Run, features: np.ndarray, labels: np.ndarray) -> Loader:
    """Return the loader of features [V N,C] and labels [N], in the order of the images; view v is epoch v's."""
    config, count, whole = run.config, len(labels), replicated(run.mesh)
    views = len(features) // count

    def prepare(batch: Batch, step: Any) -> Batch:
        request = batch["request"]
        row = request["epoch"] % views * count + request["index"]
        return {"image": batch["features"][row], "label": batch["labels"][request["index"]], "mask": request["mask"]}

    return resident_train_loader(
        {
            "features": put_whole(features, whole),
            "labels": put_whole(labels, whole),
            "key": run_key(config.seed, run.mesh),
        },
        Order(seed=config.seed, n=count, batch_size=config.batch_size),
        prepare,
        run.mesh,
    )
