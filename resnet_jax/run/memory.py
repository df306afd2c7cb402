"""Training steps that do not fit in the devices' memory: one line with the remedy."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

from resnet_jax.config.options import Config
from resnet_jax.errors import InputError
from resnet_jax.run.step import Step


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory does not suffice."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


@contextmanager
def memory_remedy(remedy: str) -> Iterator[None]:
    """Turn an error of memory in the block into an InputError with this remedy."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(f"the memory does not suffice; {remedy}") from error


def fitting_step(step: Step, program: jax.stages.Wrapped, config: Config) -> Step:
    """Return the step; where its memory does not suffice, it raises the largest batch that would fit.

    Args:
        step: runs the program.
        program: the compiled step, for its analysis.
        config: of the run.

    Raises (the step):
        InputError: it does not fit.
    """

    def fitting(*arguments: Any) -> Any:
        try:
            return step(*arguments)
        except jax.errors.JaxRuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise InputError(
                f"--batch_size={config.batch_size} does not fit in the memory of the devices; "
                f"{smaller_batch(largest_batch(program, arguments, config))}"
            ) from error

    return fitting


def smaller_batch(largest: int | None) -> str:
    """Return the remedy for a batch that does not fit, with the largest that would where it is known."""
    size = f"--batch_size={largest} should" if largest else "take a smaller --batch_size"
    return f"{size}, or keep the batch and take --accumulate, --remat or --dtype=bfloat16"


def largest_batch(step: jax.stages.Wrapped, arguments: tuple[Any, ...], config: Config) -> int | None:
    """Return the largest batch that should fit, by XLA's own analysis of the step's memory; None where it is not known.

    Args:
        step: the step that did not fit.
        arguments: its arguments, which may have been donated.
        config: of the run.
    """
    device = jax.local_devices()[0]
    limit = (device.memory_stats() or {}).get("bytes_limit")
    if not limit:
        return None
    try:
        shapes = jax.tree.map(
            lambda leaf: (
                jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
                if isinstance(leaf, jax.Array)
                else leaf
            ),
            arguments,
        )
        analysis = step.lower(*shapes).compile().memory_analysis()
        held, working = analysis.argument_size_in_bytes, analysis.temp_size_in_bytes
    except Exception:  # the compilation itself may need the memory that there is not
        return None
    # Activations grow with the batch, and the state does not.
    fraction = (limit - held) / max(working, 1)
    whole = math.lcm(jax.device_count(), config.accumulate * max(1, config.bn_group_size))
    size = int(config.batch_size * min(fraction, 1)) // whole * whole
    return size if 0 < size < config.batch_size else None
