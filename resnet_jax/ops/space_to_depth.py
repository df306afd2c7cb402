"""A convolution of stride 2 on few channels, as one of stride 1 on four times as many at half the resolution.

Matrix units work on 8 or 16 channels at once, and an image has three: ResNet's stem leaves most of them idle. Two rows
and two columns of pixels laid side by side are twelve channels (Ying et al. 2018, arXiv:1811.06992). The sums are the
same ones, so that results differ by rounding alone.
"""

import jax
import jax.numpy as jnp
from jax import lax


def convolve_in_blocks(x: jax.Array, kernel: jax.Array, padding: int) -> jax.Array:
    """Convolve x [B,H,W,C], H and W even, at stride 2 with kernel [k,k,C,D], padded by `padding` zeros on every side.

    Returns:
        [B,H',W',D], H' = (H + 2 padding - k) // 2 + 1.
    """
    batch, height, width, channels = x.shape
    size = kernel.shape[0]
    # A window must begin with a block: where it does not, the kernel gets a row and a column of zeros in front.
    front = padding % 2
    behind = (size + front) % 2
    kernel = jnp.pad(kernel, ((front, behind), (front, behind), (0, 0), (0, 0)))
    blocks = kernel.shape[0] // 2
    kernel = kernel.reshape(blocks, 2, blocks, 2, channels, -1).transpose(0, 2, 1, 3, 4, 5)
    x = x.reshape(batch, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    before = (padding + front) // 2

    def sides(length: int) -> tuple[int, int]:
        outputs = (length + 2 * padding - size) // 2 + 1
        return before, outputs - 1 + blocks - before - length // 2  # negative: pixels that no window reads

    return lax.conv_general_dilated(
        x.reshape(batch, height // 2, width // 2, 4 * channels),
        kernel.reshape(blocks, blocks, 4 * channels, -1),
        window_strides=(1, 1),
        padding=(sides(height), sides(width)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
