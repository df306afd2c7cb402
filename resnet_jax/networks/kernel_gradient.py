"""The gradient of a convolution's kernel, in parts that stay in the cache: for CPUs.

It is itself a convolution, of x by the gradient g of the output, where channels are the batch, images the channels and
the image of g the window; both must be transposed for it. Whole, this misses the cache, and XLA:CPU (jaxlib 0.10.2)
fuses into the transposition everything elementwise that made x and g: normalisation, ReLU and sums of a whole stage
are computed again, value by value, in the order in which memory is slowest (`optimization_barrier` is gone by then).
A loop is a border that no fusion crosses. Inside of it a few images and rows are cut out, transposed and convolved.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from resnet_jax.networks.cpu import apart

NHWC = ("NHWC", "HWIO", "NHWC")

# Of the x and g of one part: 1/2 to 2 MiB are about equally fast where a core's second cache has 2 MiB.
PART_BYTES = 2**20
# Each part is added to the whole result: a part is not much smaller than the result (9 MiB at 512 channels).
RESULTS_SHARE = 4
# Images are what the innermost loop of the convolution sums over.
FEWEST_IMAGES = 8


def parts(images: int, rows: int, held: int, result: int) -> tuple[int, int]:
    """Images and rows of the output that are worked on at once.

    Args:
        images: B.
        rows: H'.
        held: bytes of all of x and g.
        result: bytes of the gradient.

    Returns:
        A divisor of `images`, and a number of rows that is below `rows` only when the images are at their fewest.
    """
    size = max(PART_BYTES, result // RESULTS_SHARE)
    enough = [n for n in range(min(images, FEWEST_IMAGES), images + 1) if images % n == 0]
    fitting = [n for n in enough if held // images * n <= size]
    if fitting:
        return fitting[-1], rows
    blocks = min(rows, -(-held // images * enough[0] // size))
    return enough[0], -(-rows // blocks)


def kernel_gradient(
    x: jax.Array, shape: tuple[int, ...], g: jax.Array, strides: int, padding: int, dilation: int
) -> jax.Array:
    """Gradient of a kernel of `shape` [k,k,C,D] that made [B,H',W',D] of x [B,H,W,C], from the gradient g of that.

    It has the type of x; the sum over the parts is float32 or finer. Where the process has several devices the batch
    may be divided over them, and each part of a loop would be summed over the devices by itself: then it is made whole.
    """
    images, height, width, _ = x.shape
    rows, columns = g.shape[1:3]
    reach = dilation * (shape[0] - 1)
    group, block = images, rows
    if jax.device_count() == 1:
        result = math.prod(shape) * jnp.dtype(jnp.float32).itemsize
        group, block = parts(images, rows, x.nbytes + g.nbytes, result)
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
    # Every `groups`-th image is in a group: the first axis stays whole.
    x, g = (a.reshape(group, groups, *a.shape[1:]) for a in (x, g))
    x_rows = (block - 1) * strides + reach + 1 if blocks > 1 else height

    def part(index: jax.Array | int) -> jax.Array:
        number, row = index // blocks, index % blocks * block
        x_part, g_part = (
            lax.dynamic_slice(a, (0, number, first, 0, 0), (group, 1, length, *a.shape[3:]))[:, 0]
            for a, first, length in ((x, row * strides, x_rows), (g, row, block))
        )
        x_part = margins(x_part, above_and_below, left_and_right)
        if shape[0] == 1:
            x_part = x_part[:, ::strides, ::strides]
            return lax.dot_general(
                x_part, g_part, (((0, 1, 2), (0, 1, 2)), ((), ())), preferred_element_type=total_type
            )[:, None, None]
        return lax.conv_general_dilated(
            x_part.transpose(3, 1, 2, 0),
            g_part.transpose(1, 2, 0, 3),
            window_strides=(dilation, dilation),
            padding="VALID",
            rhs_dilation=(strides, strides),
            dimension_numbers=NHWC,
            preferred_element_type=total_type,
        )

    total_type = jnp.promote_types(x.dtype, jnp.float32)
    zeros = jnp.zeros((shape[2], *shape[:2], shape[3]), total_type)
    if groups * blocks > 1:
        gradient = lax.fori_loop(0, groups * blocks, lambda index, total: total + part(index), zeros)
    elif jax.device_count() == 1:
        gradient = apart(lambda: part(0))
    else:
        gradient = part(0)
    return gradient.astype(x.dtype).transpose(1, 2, 0, 3)
