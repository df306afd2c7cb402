"""The gradient of a convolution's kernel on CPUs, in parts that fit the cache.

It is itself a convolution, of x by the gradient g of the output, where channels are the batch, images the channels and
the image of g the window; both must be transposed for it. In one piece this misses the cache, and XLA:CPU (jaxlib
0.10.2) fuses into the transposition everything elementwise that made x and g: normalization, ReLU and sums of a whole
stage are computed again, value by value, in the order in which memory is slowest (`optimization_barrier` is gone by
then). No fusion crosses the border of a loop. Inside it a few images and rows are sliced, transposed and convolved.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from resnet_jax.ops.fusion_barrier import compute_unfused

NHWC = ("NHWC", "HWIO", "NHWC")

# The x and g of one part: 1/2 to 2 MiB are about equally fast where a core's second cache has 2 MiB.
PART_BYTES = 2**20
# Each part is added to the whole result, so that parts much smaller than it (9 MiB at 512 channels) are slow.
RESULTS_SHARE = 4
# The innermost loop of the convolution sums over images.
FEWEST_IMAGES = 8
FEWEST_ROWS = 64  # in a part of a matrix product


def part_size(images: int, rows: int, operand_bytes: int, result_bytes: int) -> tuple[int, int]:
    """Return how many images, and how many rows of the output, a part has.

    Args:
        images: B.
        rows: H'.
        operand_bytes: of all of x and g.
        result_bytes: of the gradient.

    Returns:
        A divisor of `images`, and a number of rows that is below `rows` only when the images are at their fewest.
    """
    size = max(PART_BYTES, result_bytes // RESULTS_SHARE)
    enough = [n for n in range(min(images, FEWEST_IMAGES), images + 1) if images % n == 0]
    fitting = [n for n in enough if operand_bytes // images * n <= size]
    if fitting:
        return fitting[-1], rows
    blocks = min(rows, -(-operand_bytes // images * enough[0] // size))
    return enough[0], -(-rows // blocks)


def kernel_gradient(
    x: jax.Array, shape: tuple[int, ...], g: jax.Array, strides: int, padding: int, dilation: int
) -> jax.Array:
    """Return the gradient of a kernel of `shape` [k,k,C,D], from x [B,H,W,C] and the gradient g [B,H',W',D].

    It has the type of x; the sum over the parts is float32 or finer. Where the process has several devices the batch
    may be sharded over them, and each part would be summed over the devices by itself: then there is one part.
    """
    images, height, width, _ = x.shape
    rows, columns = g.shape[1:3]
    reach = dilation * (shape[0] - 1)
    group, block = images, rows
    if jax.device_count() == 1:
        result = math.prod(shape) * jnp.dtype(jnp.float32).itemsize
        group, block = part_size(images, rows, x.nbytes + g.nbytes, result)
    groups, blocks = images // group, -(-rows // block)

    def sides(windows: int, length: int) -> tuple[int, int, int]:
        far = (windows - 1) * strides + reach + 1 - length - padding  # negative: pixels that no window reads
        return padding, far, 0

    def margins(a: jax.Array, *rows_and_columns: tuple[int, int, int]) -> jax.Array:
        return lax.pad(a, jnp.zeros((), a.dtype), ((0, 0, 0), *rows_and_columns, (0, 0, 0)))

    above_and_below, left_and_right = sides(blocks * block, height), sides(columns, width)
    if blocks > 1:
        x, above_and_below = margins(x, above_and_below, (0, 0, 0)), (0, 0, 0)
        g = margins(g, (0, blocks * block - rows, 0), (0, 0, 0))
    x_rows = (block - 1) * strides + reach + 1 if blocks > 1 else height

    def part(index: jax.Array | int) -> jax.Array:
        first, row = index // blocks * group, index % blocks * block
        x_part = lax.dynamic_slice(x, (first, row * strides, 0, 0), (group, x_rows, *x.shape[2:]))
        g_part = lax.dynamic_slice(g, (first, row, 0, 0), (group, block, *g.shape[2:]))
        return lax.conv_general_dilated(
            margins(x_part, above_and_below, left_and_right).transpose(3, 1, 2, 0),
            g_part.transpose(1, 2, 0, 3),
            window_strides=(dilation, dilation),
            padding="VALID",
            rhs_dilation=(strides, strides),
            dimension_numbers=NHWC,
            preferred_element_type=jnp.promote_types(x.dtype, jnp.float32),
        )

    return sum_parts(part, groups * blocks).astype(x.dtype).transpose(1, 2, 0, 3)


def matrix_gradient(x: jax.Array, g: jax.Array) -> jax.Array:
    """Return the sum over N of the products of x [N,C] and g [N,D], in parts of N, in the type of x: [C,D]."""
    rows = x.shape[0]
    size = max(PART_BYTES, x.shape[1] * g.shape[1] * 4 // RESULTS_SHARE)
    count = max(1, min(rows, -(-(x.nbytes + g.nbytes) // size)))
    while rows % count:
        count += 1
    if jax.device_count() > 1 or rows // count < FEWEST_ROWS:
        count = 1

    def part(index: jax.Array | int) -> jax.Array:
        x_part, g_part = (lax.dynamic_slice_in_dim(a, index * (rows // count), rows // count) for a in (x, g))
        kind = jnp.promote_types(x.dtype, jnp.float32)
        return lax.dot_general(x_part, g_part, (((0,), (0,)), ((), ())), preferred_element_type=kind)

    return sum_parts(part, count).astype(x.dtype)


def sum_parts(part: Callable[[jax.Array | int], jax.Array], count: int) -> jax.Array:
    """Return part(0) + … + part(count - 1), unfused with its operands wherever the process has one device."""
    if jax.device_count() > 1 and count == 1:
        return part(0)
    if count == 1:
        return compute_unfused(lambda: part(0))
    shape = jax.eval_shape(part, 0)
    return lax.fori_loop(0, count, lambda index, sum_: sum_ + part(index), jnp.zeros(shape.shape, shape.dtype))
