"""Peak rates of this device: bytes a second of a large copy, and multiply-adds a second of a large matrix product."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

# Large enough for every cache and every launch to be small beside them, and for two cores to need a second or less.
SIZES = {"cpu": (2**27, 1024), "else": (2**30, 8192)}  # bytes, rows
REPEATS = 5


def measure_roofline(dtype: Any) -> dict[str, float]:
    """Measure the fastest of several copies and matrix products of the type.

    Returns:
        {"gigabytes_per_second": read and written, "tera_multiply_adds_per_second"}.
    """
    platform = jax.devices()[0].platform
    size, rows = SIZES.get(platform, SIZES["else"])
    values = jnp.zeros(size // 4, jnp.float32)
    copy = _seconds(jax.jit(lambda x: x + 1), values)
    # Noise: matrix units are faster on numbers that are all alike (13 % on an H200).
    matrix = jax.random.normal(jax.random.key(0), (rows, rows), dtype)
    product = _seconds(jax.jit(lambda x: x @ x), matrix)
    return {
        "gigabytes_per_second": round(2 * size / copy / 1e9, 1),
        "tera_multiply_adds_per_second": round(rows**3 / product / 1e12, 4),
    }


def roofline_share(roofline: dict[str, float], seconds: float, work: dict[str, float]) -> dict[str, float]:
    """Return the share of the device's peak that a program reaches: the least time of its work over its own time.

    Args:
        roofline: of the device.
        seconds: of the program.
        work: its {"multiply_adds", "bytes"}; the bytes as XLA counts them, between its fused operations, and those of a
            loop once: on CPUs, where gradients of kernels are loops, a lower bound.

    Returns:
        {"of_multiply_adds", "of_bytes", "of_roofline": the larger of them}, each 1 at the device's peak.
    """
    shares = {
        "of_multiply_adds": work["multiply_adds"] / roofline["tera_multiply_adds_per_second"] / 1e12 / seconds,
        "of_bytes": work["bytes"] / roofline["gigabytes_per_second"] / 1e9 / seconds,
    }
    return {name: round(share, 3) for name, share in (shares | {"of_roofline": max(shares.values())}).items()}


def _seconds(work: Callable[[jax.Array], jax.Array], x: jax.Array) -> float:
    work(x).block_until_ready()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work(x).block_until_ready()
        times.append(time.perf_counter() - began)
    return min(times)
