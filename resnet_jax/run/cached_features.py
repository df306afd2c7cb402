"""A frozen encoder that is computed once: what follows it trains on the features of every image, in seconds.

The images are those of the first `--cache_features` epochs, crops and all; a longer training shows their features
again. With as many views as epochs it is the training without the cache, to rounding: the pooled features of a
classifier are float32, the stages of a network for dense prediction float16, which are 4 MB an image of 180 x 240 with
a ResNet-50.
"""

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from resnet_jax.config.options import Config
from resnet_jax.data.loader import Loader, process_share, resident_train_loader, run_key
from resnet_jax.data.order import Order
from resnet_jax.data.pipeline import to_device
from resnet_jax.data.resident import train_requests
from resnet_jax.errors import InputError, InterruptedRunError
from resnet_jax.models.registry import backbone_name
from resnet_jax.models.resnet.scan import unrolled, unstack_scan_groups
from resnet_jax.optim.freeze import frozen_by
from resnet_jax.optim.param_paths import by_path, layer_of
from resnet_jax.run.build import Run
from resnet_jax.run.report import say_once
from resnet_jax.run.without_encoder import HEAD, POOLED, features_read
from resnet_jax.runtime.batch import Batch
from resnet_jax.runtime.memory import memory_remedy
from resnet_jax.runtime.sharding import put_whole, replicated, sharded
from resnet_jax.runtime.watchdog import beat
from resnet_jax.training.skipped import report_skipped
from resnet_jax.training.state import TrainState

STAGE = "stage:"  # begins the names of stages in a batch, which holds no dicts
LARGEST = float(np.finfo(np.float16).max)


def check_cache(config: Config, params: Any) -> None:
    """Refuse to cache features that change, or that the head does not read alone.

    Raises:
        InputError: the options do not go together.
    """
    if not config.cache_features:
        return
    option = f"--cache_features={config.cache_features}"
    is_frozen = frozen_by(config.freeze)
    dense = bool(backbone_name(config.model))
    learning = [path for path in by_path(params) if not is_frozen(path)]
    after = (lambda path: layer_of(path) is None) if dense else (lambda path: path.startswith(f"{HEAD}/"))
    if below := sorted({path.split("/")[0] for path in learning if not after(path)}):
        rest = "all of the encoder" if dense else "all but the head"
        raise InputError(f"{option} needs {rest} frozen; {', '.join(below[:3])} would learn, see --freeze")
    if not dense and (set(params[HEAD]) != {"kernel", "bias"} or params[HEAD]["kernel"].ndim != 2):
        raise InputError(f"{option}: {config.model} has no single dense layer after its pooled features; leave it out")
    others = {name: getattr(config, name) for name in ("mixup", "cutmix", "unfreeze_at", "teacher")}
    others |= {"accumulate": config.accumulate > 1, "stochastic_depth": config.stochastic_depth}
    if given := [f"--{name}" for name, value in others.items() if value]:
        raise InputError(f"{option} does not go with {', '.join(given)}; leave out one of them")
    if config.sampling or config.repeats > 1:  # an epoch then lacks pictures that a later one has
        remedy = "take --class_weights=balanced" if config.sampling else f"leave --repeats={config.repeats} out"
        raise InputError(f"{option} needs epochs that show every picture once; {remedy}")


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
        InputError: too many images cannot be read, or there are several processes.
        InterruptedRunError: a signal asked for it.
    """
    config, views = run.config, run.config.cache_features
    if jax.process_count() > 1:
        raise InputError(f"--cache_features={views} goes with one process alone; leave it out")
    variables = unstack_scan_groups(state, run.scan_groups).variables
    model: Any = unrolled(run.model)
    kind = jnp.float16 if run.task.pixels else jnp.float32

    @jax.jit
    def features_of(variables: Any, batch: Batch) -> dict[str, Any]:
        prepared = run.data.train.prepare(batch, 0)
        outputs = model.apply(variables, prepared["image"], train=False, features=True)
        read = {name: outputs[name] for name in features_read(run.model, outputs)}
        features = {name: values.astype(kind) for name, values in read.items()}
        largest = jnp.stack([jnp.abs(values).max() for values in read.values()]).max()
        return {name: prepared[name] for name in ("epoch", "index", "label")} | {"features": features, "max": largest}

    if dropout := getattr(model, "dropout", 0.0) * (not run.task.pixels):
        say_once(f"the head learns without the network's dropout of {dropout:g}")
    count, size = run.data.num_train, config.batch_size
    fewer = "take fewer views, or " if views > 1 else ""
    fits = partial(memory_remedy, lambda: f"{fewer}leave --cache_features={views} out")
    say_once(f"computing the features of {count:,} images{f', {views} views of each' if views > 1 else ''}")
    features: dict[str, np.ndarray] = {}
    labels = np.zeros(0, np.int32)
    readable = np.zeros(count, bool)
    steps = -(-views * count // size)
    for _, batch in report_skipped(enumerate(run.data.train.batches(0, steps), 1), skipped):
        found = jax.device_get(features_of(variables, batch))
        beat()
        if stop_requested(0):
            raise InterruptedRunError(
                "stopped by a signal while features were computed; the same command computes them again, and continues"
            )
        if kind == jnp.float16 and found["max"] > LARGEST:
            raise InputError(f"--cache_features={views}: features of {config.model} exceed float16; leave it out")
        first_views = found["epoch"] < views
        rows = (found["epoch"] * count + found["index"])[first_views]
        if not features:
            with fits():
                features = {n: np.zeros((views * count, *f.shape[1:]), f.dtype) for n, f in found["features"].items()}
                labels = np.zeros((views * count, *found["label"].shape[1:]), np.int32)
        for name, values in found["features"].items():
            features[name][rows] = values[first_views]
        labels[rows], readable[found["index"]] = found["label"][first_views], True
    if not readable.all():
        instead = np.concatenate([view * count + next_readable(readable) for view in range(views)])
        features, labels = {name: values[instead] for name, values in features.items()}, labels[instead]
    with fits():
        is_pooled = POOLED in features
        loader = pooled_loader(run, features[POOLED], labels) if is_pooled else stage_loader(run, features, labels)
    return dataclasses.replace(run, data=dataclasses.replace(run.data, train=loader))


def next_readable(readable: np.ndarray) -> np.ndarray:
    """Return, for each of N images, itself or the next one that is readable: int64 [N]; the first follows the last."""
    (numbers,) = np.nonzero(readable)
    return numbers[np.searchsorted(numbers, np.arange(len(readable))) % len(numbers)]


def pooled_loader(run: Run, features: np.ndarray, labels: np.ndarray) -> Loader:
    """Return the loader of features [V N,C] and labels [V N], in the order of the images; view v is epoch v's."""
    config, count, whole = run.config, run.data.num_train, replicated(run.mesh)
    views = len(features) // count

    def prepare(batch: Batch, step: Any) -> Batch:
        request = batch["request"]
        row = request["epoch"] % views * count + request["index"]
        return {"image": batch["features"][row], "label": batch["labels"][row], "mask": request["mask"]}

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


def stage_loader(run: Run, stages: dict[str, np.ndarray], labels: np.ndarray) -> Loader:
    """Return the loader of stages, by name [V N,h,w,C], and masks [V N,H,W], which stay in the host's memory."""
    config, count = run.config, run.data.num_train
    views = len(labels) // count
    order = Order(seed=config.seed, n=count, batch_size=config.batch_size)
    key = run_key(config.seed, run.mesh)

    def host_batches(start: int, stop: int) -> Iterator[Batch]:
        for request in train_requests(order, start=start, stop=stop, **process_share()):
            rows = request["epoch"] % views * count + request["index"]
            chosen = {f"{STAGE}{name}": values[rows] for name, values in stages.items()}
            yield chosen | {"label": labels[rows], "mask": request["mask"]}

    def batches(start: int, stop: int) -> Iterator[Batch]:
        for batch in to_device(host_batches(start, stop), sharded(run.mesh)):
            yield {**batch, "key": key}

    def prepare(batch: Batch, step: Any) -> Batch:
        inputs = {n.removeprefix(STAGE): v.astype(jnp.float32) for n, v in batch.items() if n.startswith(STAGE)}
        return {"image": inputs, "label": batch["label"], "mask": batch["mask"]}

    return Loader(batches, prepare)
