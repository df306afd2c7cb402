"""The memory of a training step, and the batch that fits."""

from dataclasses import dataclass
from typing import Any

import jax

from resnet_jax.run.build import Run
from resnet_jax.run.step import step_batches
from resnet_jax.runtime.memory import device_memory
from resnet_jax.training.accumulate import batch_multiple
from resnet_jax.training.skipped import report_skipped


def smaller_batch(run: Run, step: jax.stages.Wrapped, state: Any, sums: Any, start: int) -> str:
    """Return the remedy for a step that does not fit, with the largest batch that should where that is known.

    Args:
        run: the run.
        step: its step.
        state: the step's first argument, which may have been donated.
        sums: its second.
        start: the first step, whose batch is its third.
    """
    size = largest_batch(run, step, state, sums, start)
    return (
        f"take {f'--batch_size={size}' if size else 'a smaller --batch_size'} instead of {run.config.batch_size}, "
        "or keep the batch and take --accumulate, --remat or --dtype=bfloat16"
    )


def largest_batch(run: Run, step: jax.stages.Wrapped, state: Any, sums: Any, start: int) -> int | None:
    """Return the largest batch that should fit, by XLA's own analysis of the step's memory; None where it is unknown.

    The arguments are those of `smaller_batch`.
    """
    limit = device_memory()
    if limit is None:
        return None
    try:
        _, batch = next(report_skipped(step_batches(run, start), set()))
        needed = step_memory(step, *jax.tree.map(abstract, (state, sums, batch)))
    except Exception:  # the compilation itself may need the memory that there is not
        return None
    fraction = (limit - needed.held) / max(needed.working, 1)
    size = whole_batches(run, run.config.batch_size * min(fraction, 1))
    return size if 0 < size < run.config.batch_size else None


@dataclass(frozen=True)
class StepMemory:
    """The memory of a compiled step on one device, in bytes.

    Attributes:
        held: state, sums and batch.
        working: activations and whatever else lives within the step; it grows with the batch.
    """

    held: int
    working: int

    @property
    def total(self) -> int:
        """Both."""
        return self.held + self.working


def step_memory(step: jax.stages.Wrapped, state: Any, sums: Any, batch: Any) -> StepMemory:
    """Compile a step for arguments of these shapes, and return the memory that it needs."""
    analysis: Any = step.lower(state, sums, batch).compile().memory_analysis()
    return StepMemory(analysis.argument_size_in_bytes, analysis.temp_size_in_bytes)


def whole_batches(run: Run, size: float) -> int:
    """Return a batch size of at most `size` that devices, micro-batches and normalization groups can share."""
    multiple = batch_multiple(run.config.accumulate, run.config.bn_group_size, jax.device_count())
    return int(size) // multiple * multiple


def abstract(leaf: Any) -> Any:
    """Return the shape, type and sharding of an array; anything else as it is."""
    is_array = isinstance(leaf, jax.Array)
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding) if is_array else leaf
