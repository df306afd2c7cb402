"""What does not fit in the devices' memory: one line with the remedy."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax

from resnet_jax.errors import InputError


@contextmanager
def memory_remedy(remedy: Callable[[], str]) -> Iterator[None]:
    """Turn an error of memory in the block into an InputError with this remedy."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise InputError(f"the memory does not suffice; {remedy()}") from error


def device_memory() -> int | None:
    """Return the bytes that a device may hold; None where it does not say, as CPUs do not."""
    return (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
