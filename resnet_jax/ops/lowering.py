"""Lowerings: equal ways to compute a layer, whose results differ by rounding and whose speed depends on the device."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import jax

from resnet_jax.errors import InputError

LOWERINGS = {
    "batch_norm": "batch normalization with a gradient by hand (batch_norm.py)",
    "canonical": "gradients of convolutions, 1x1 ones and tiny images by hand (convolution.py, kernel_gradient.py)",
    "float32_gradients": "in bfloat16, devices sum gradients of kernels in float32 (convolution.py)",
    "kept_places": "max pooling keeps the positions of its maxima for the gradient (max_pool.py)",
    "matrix_product": "1x1 convolutions as matrix products, with automatic gradients (convolution.py)",
    "output_relu": "the gradient of a block's last ReLU reads its output (relu.py)",
    "space_to_depth": "convolutions of stride 2 on images as ones of stride 1 on blocks of pixels (space_to_depth.py)",
}
# What was seen to pay (docs/performance.md): on CPUs each, on an H200 these together, where float32_gradients cost a
# quarter of the speed. On TPUs nothing was measured.
DEFAULTS = {
    "cpu": ("batch_norm", "canonical", "kept_places"),
    "gpu": ("batch_norm", "kept_places", "output_relu", "space_to_depth"),
}
_PLAIN: ContextVar[bool] = ContextVar("plain", default=False)


@contextmanager
def plain_lowering() -> Iterator[None]:
    """Trace programs with JAX's own lowering of everything, inside: they leave for other devices and programs."""
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


def active_lowerings() -> list[str]:
    """Return the lowerings that a program traced now uses."""
    return [lowering for lowering in LOWERINGS if is_active(lowering)]


def is_active(lowering: str) -> bool:
    """Return whether a program traced now uses this lowering: by the default backend, or as RESNET_JAX_FORMS says.

    That environment variable is a list such as "matrix_product,space_to_depth", which is read when a program is traced;
    "" means none: JAX's own lowering of everything.

    Raises:
        InputError: the list has an unknown name.
    """
    if _PLAIN.get():
        return False
    listed = os.environ.get("RESNET_JAX_FORMS")
    if listed is None:
        return lowering in DEFAULTS.get(jax.default_backend(), ())
    names = [name for name in listed.split(",") if name]
    if unknown := [name for name in names if name not in LOWERINGS]:
        raise InputError(f"RESNET_JAX_FORMS={listed}: {unknown[0]} is not a lowering; known are {', '.join(LOWERINGS)}")
    return lowering in names
