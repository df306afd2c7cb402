"""The cores that this process may use."""

import os


def usable_cores() -> int:
    """Return how many cores the process may use: Slurm, taskset and containers give it fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
