"""Blurring, so that subsampling does not alias: layers without parameters."""

import jax
import jax.numpy as jnp


def binomial_blur(x: jax.Array) -> jax.Array:
    """Blur x [B,H,W,C] with the binomial filter 1 2 1 in both directions; beyond the edges are zeros."""
    for axis in (1, 2):
        margins = [(1, 1) if a == axis else (0, 0) for a in range(4)]
        before, here, after = (
            jax.lax.slice_in_dim(jnp.pad(x, margins), start, start + x.shape[axis], axis=axis) for start in range(3)
        )
        x = before / 4 + here / 2 + after / 4  # sums of shifted copies: grouped convolutions are slow on CPUs
    return x


def mean_of_pairs(x: jax.Array, distance: int) -> jax.Array:
    """Return the mean of each pixel of x [B,H,W,C] and of those `distance` to the right, below, and both.

    Of pairs that the edge cuts only the pixel itself counts. Sampled every 2 `distance` pixels, the result equals the
    mean over 2x2 windows, with stride 2, of an image that was sampled every `distance` pixels.
    """
    for axis in (1, 2):
        size = x.shape[axis]
        inside, edge = min(distance, size), max(0, size - distance)
        x = (x + _joined(x, axis, (inside, size), (edge, size))) / 2
    return x


def blur(x: jax.Array, distance: int) -> jax.Array:
    """Blur x [B,H,W,C] as `blur_pool` does, but without its stride, and with pixels `distance` away for neighbors.

    Sampled every 2 `distance` pixels, the result equals `blur_pool` of an image sampled every `distance` pixels.
    """
    for axis in (1, 2):
        n = x.shape[axis]
        d = min(distance, n)
        # At the edges the neighbor on the other side, or, in an image of less than 2 d, the pixel itself.
        near, far = min(d, n - d), max(d, n - d)
        before = _joined(x, axis, (d, d + near), (near, d), (0, n - d))
        after = _joined(x, axis, (d, n), (n - d, far), (far - d, n - d))
        x = before / 4 + x / 2 + after / 4
    return x


def _joined(x: jax.Array, axis: int, *ranges: tuple[int, int]) -> jax.Array:
    return jnp.concatenate([jax.lax.slice_in_dim(x, start, stop, axis=axis) for start, stop in ranges], axis)


@jax.jit
def reflect_edges(x: jax.Array) -> jax.Array:
    """Surround x [B,H,W,C] by one row or column on each side, mirrored at its edges; an export knows it by name."""
    return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")


def blur_pool(x: jax.Array) -> jax.Array:
    """Subsample x [B,H,W,C] to [B,H/2,W/2,C] after the binomial filter 1 2 1, with the image reflected at its edges.

    Without aliasing a shifted image gives shifted features (Zhang 2019, arXiv:1904.11486).
    """
    channels = x.shape[-1]
    line = jnp.array([1, 2, 1], x.dtype) / 4
    kernel = jnp.broadcast_to(jnp.outer(line, line)[:, :, None, None], (3, 3, 1, channels))
    return jax.lax.conv_general_dilated(
        reflect_edges(x),
        kernel,
        window_strides=(2, 2),
        padding="VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=channels,
    )
