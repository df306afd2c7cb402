"""The largest batch of a training that fits in a device's memory, by XLA's own analysis of the compiled step."""

import math
import os
from dataclasses import replace
from typing import Any

import jax

from resnet_jax.config.options import Config, progressive_sizes
from resnet_jax.errors import InputError
from resnet_jax.run.build import Run
from resnet_jax.run.initial import fresh_run
from resnet_jax.run.memory import abstract, step_memory, whole_batches
from resnet_jax.run.report import say_once
from resnet_jax.run.state import first_state
from resnet_jax.run.step import build_train_step, step_batches
from resnet_jax.runtime.memory import device_memory, memory_remedy
from resnet_jax.runtime.sharding import replicated
from resnet_jax.runtime.watchdog import beat
from resnet_jax.training.skipped import report_skipped

MAY_FILL = 0.9  # of the memory: the allocator loses some between its pieces
MOST_COMPILATIONS = 6


def find_batch(config: Config) -> int:
    """Print and return the largest batch whose step fits in a device's memory; where that can be asked, try it.

    Raises:
        InputError: not even the smallest batch fits, or something in the config or the data cannot be used.
    """
    run = fresh_run(replace(largest_step(config), steps_per_call=1, cache_features=0))
    limit = MAY_FILL * (device_memory() or host_memory())
    whose = "device" if device_memory() else "computer"
    say_once(f"a step may take {limit / 2**30:.1f} GiB, {MAY_FILL:.0%} of the memory of a {whose}")
    size = largest_that_fits(run, limit)
    while device_memory() and not runs(run, size):
        size = whole_batches(run, 0.9 * size)
        check_fits(run, size)
    tried = ", which was tried" if device_memory() else ""
    say_once(f"the largest that fits{tried}: --batch_size={size} (here --batch_size={config.batch_size})")
    return size


def largest_step(config: Config) -> Config:
    """Return the config of a training whose first step is the one that needs the most memory of `config`'s."""
    if config.unfreeze_at:
        config = replace(config, freeze="", unfreeze_at=0.0)
    if growing := progressive_sizes(config.progressive):
        config = replace(config, progressive="", image_size=max(growing))
    return config


def largest_that_fits(run: Run, limit: float) -> int:
    """Return the largest batch whose step takes at most `limit` bytes on a device.

    Memory grows nearly in proportion to the batch: what one size takes tells the next one to compile.

    Raises:
        InputError: not even the smallest batch fits.
    """
    shapes = jax.tree.map(abstract, first_arguments(run))
    step = build_train_step(run)
    size = whole_batches(run, run.config.batch_size)
    fits, too_large = 0, math.inf
    for _ in range(MOST_COMPILATIONS):
        needed = step_memory(step, *at_size(shapes, run.config.batch_size, size))
        beat()
        say_once(f"  --batch_size={size}: {needed.total / 2**30:.2f} GiB")
        if needed.total <= limit:
            fits = max(fits, size)
        else:
            too_large = min(too_large, size)
        each = needed.working / size
        size = whole_batches(run, min(size + (limit - needed.total) / each, too_large - 1))
        check_fits(run, size)
        if size <= fits:
            break
    check_fits(run, fits)
    return fits


def check_fits(run: Run, size: int) -> None:
    """Refuse a batch of no examples.

    Raises:
        InputError: it is.
    """
    if size < 1:
        raise InputError(
            f"not even the smallest batch of {run.config.model} at {run.data.image_size} px fits; "
            "take --remat with --scan, --dtype=bfloat16 or a smaller --image_size"
        )


def first_arguments(run: Run) -> tuple[Any, Any, Any]:
    """Return the arguments of a run's first step: state, sums and batch."""
    sums = jax.jit(run.task.zero_sums, out_shardings=replicated(run.mesh))()
    _, batch = next(report_skipped(step_batches(run, 0), set()))
    return first_state(run), sums, batch


def at_size(shapes: tuple[Any, Any, Any], old: int, new: int) -> tuple[Any, Any, Any]:
    """Return the shapes of a step's arguments with batches of `new` in place of `old` examples."""
    state, sums, batch = shapes

    def resized(leaf: Any) -> Any:
        is_share = isinstance(leaf, jax.ShapeDtypeStruct) and leaf.shape[:1] == (old,)
        if not is_share or not any(leaf.sharding.spec):  # type: ignore[union-attr]
            return leaf
        return jax.ShapeDtypeStruct((new, *leaf.shape[1:]), leaf.dtype, sharding=leaf.sharding)

    return state, sums, jax.tree.map(resized, batch)


def runs(run: Run, size: int) -> bool:
    """Return whether the first step of a training with batches of `size` finds the memory that it needs."""
    larger = fresh_run(replace(run.config, batch_size=size))
    try:
        with memory_remedy(lambda: ""):
            jax.block_until_ready(build_train_step(larger)(*first_arguments(larger)))
    except InputError:
        return False
    return True


def host_memory() -> int:
    """Return the bytes of the computer's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
