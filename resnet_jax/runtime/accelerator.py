"""Accelerators of this machine that JAX does not use: without its plugin it computes on the CPU, and hardly says so."""

import os
from pathlib import Path

import jax

from resnet_jax.errors import InputError

# What shows that a machine has one, and the package with JAX's plugin for it.
ACCELERATORS = {"/dev/nvidia0": ("an NVIDIA GPU", "jax[cuda13]"), "/dev/accel0": ("a TPU", "jax[tpu]")}


def check_accelerator(required: bool) -> str:
    """Return a line where this machine has an accelerator that JAX does not use, else "".

    There is none where JAX_PLATFORMS asks for the CPU.

    Args:
        required: refuse to compute on a CPU.

    Raises:
        InputError: it is required, and JAX has none.
    """
    if jax.default_backend() != "cpu":
        return ""
    unused = [found for path, found in ACCELERATORS.items() if Path(path).exists()]
    remedies = [f"pip install '{package}'" for _, package in unused]
    if required:
        remedy = "; ".join(remedies) or "start it on a machine that has one"
        raise InputError(f"--require_accelerator: JAX has CPUs alone here; {remedy}, or leave the option out")
    if not unused or "cpu" in os.environ.get("JAX_PLATFORMS", ""):
        return ""
    return f"this machine has {unused[0][0]}, but JAX computes on the CPU: it has no plugin for it; {remedies[0]}"
