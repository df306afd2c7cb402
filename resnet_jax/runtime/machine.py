"""The machine that a result belongs to."""

import platform
from pathlib import Path
from typing import Any

import jax

from resnet_jax.runtime.cores import usable_cores


def describe_machine() -> dict[str, Any]:
    """Return the devices of all processes, and the processor and usable cores of this one."""
    devices = jax.devices()
    return {
        "devices": len(devices),
        "device": devices[0].device_kind,
        "processor": processor(),
        "cores": usable_cores(),
    }


def processor() -> str:
    """Return the processor's name as the system tells it, or else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
