"""The convolution under every layer, written so that XLA is fast on CPUs too.

Everywhere but on CPUs it is `jax.lax.conv_general_dilated`, gradients included (on GPUs the first layer's in another
shape: `space_to_depth.py`): the matchers of XLA's GPU and TPU compilers expect JAX's own lowering. XLA:CPU is slow in
four cases, each with its cure below (measured, jaxlib 0.10.2):

- Inside `lax.scan` a convolution whose axes are permuted, as JAX writes gradients, falls back to a naive loop and is 5
  to 80 times slower than outside. Gradients written in the order NHWC, HWIO are as fast as outside.
- The gradient of the kernel misses the cache, and is fused with what made its operands: see `kernel_gradient.py`.
- A 1x1 convolution is a matrix product, and as such 2 to 4 times faster in all three passes.
- Where the kernel is larger than the image, XLA falls back to a naive loop: 3x3 on 2x2 pixels, the last stage of a
  ResNet at 64 pixels, is 80 times slower than on 3x3. As a product of patches and kernel it is not.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from resnet_jax.ops.kernel_gradient import NHWC, kernel_gradient, matrix_gradient
from resnet_jax.ops.lowering import is_active
from resnet_jax.ops.space_to_depth import convolve_in_blocks

MOST_CHANNELS = 4  # of inputs that are convolved on blocks of pixels: images


def convolve(
    x: jax.Array, kernel: jax.Array, *, strides: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1
) -> jax.Array:
    """Convolve x [B,H,W,C] with kernel [k,k,C/groups,D], padded by `padding` zeros on every side: [B,H',W',D].

    H' = (H + 2 padding - dilation (k - 1) - 1) // strides + 1, and W' alike. Both gradients are defined, and all of
    `jit`, `vmap`, `jax.checkpoint` and sharding; forward-mode derivatives of it (`jax.jvp`) are not defined on CPUs,
    those of its gradients (Hessian-vector products as `jvp` of `grad`) are.

    The lowering is chosen when the program is traced, by the default backend (`lowering.py`), and not by
    `lax.platform_dependent` when it is lowered: that would trace every convolution twice, and keep what both lowerings
    need for their gradients. A program that runs on the CPU of a machine with an accelerator has the plain lowering:
    the same values, slower in `lax.scan`.
    """
    size = kernel.shape[0]
    output = _output_size(x, size, strides, padding, dilation)
    # Of an image without pixels nothing is computed; the other lowerings divide by its sides.
    empty = any(isinstance(side, int) and side < 1 for side in (*x.shape[1:3], *output))
    if groups > 1 or empty:
        return _plain(x, kernel, strides, padding, dilation, groups)
    if size == 1 and not padding and (is_active("canonical") or is_active("matrix_product")):
        x = x[:, ::strides, ::strides]
        if not is_active("canonical"):
            return x @ kernel[0, 0]
        # Flat outside of the product: the products forward and backward then read the same array, made once.
        return _product(x.reshape(-1, x.shape[3]), kernel[0, 0]).reshape(*x.shape[:3], -1)
    few = x.shape[3] <= MOST_CHANNELS and size > 1 and strides == 2 and dilation == 1
    if few and x.shape[1] % 2 == x.shape[2] % 2 == 0 and is_active("space_to_depth"):
        return convolve_in_blocks(x, kernel, padding)
    if is_active("canonical"):
        # The gradient of x is a convolution of g, which has the size of the output. Long images (2x64) lose a tenth.
        if min(x.shape[1], x.shape[2], *output) < size:
            return _convolve_patches(x, kernel, output, strides, padding, dilation)
        return _canonical(x, kernel, strides, padding, dilation)
    if x.dtype != jnp.float32 and is_active("float32_gradients"):
        return _summed_in_float32(x, kernel, strides, padding, dilation)
    return _plain(x, kernel, strides, padding, dilation)


def _plain(x: jax.Array, kernel: jax.Array, strides: int, padding: int, dilation: int, groups: int = 1) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(strides, strides),
        padding=((padding, padding), (padding, padding)),
        rhs_dilation=(dilation, dilation),
        feature_group_count=groups,
        dimension_numbers=NHWC,
    )


def _output_size(x: jax.Array, size: int, strides: int, padding: int, dilation: int) -> tuple[int, int]:
    height, width = ((n + 2 * padding - dilation * (size - 1) - 1) // strides + 1 for n in x.shape[1:3])
    return height, width


def _convolve_patches(
    x: jax.Array, kernel: jax.Array, output: tuple[int, int], strides: int, padding: int, dilation: int
) -> jax.Array:
    """Convolve without groups, to an `output` of H' x W', as the product of every window's values with the kernel."""
    # The gradient of a pixel is a sum over the windows that read it, here in float32 or finer.
    fine = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    padded = jnp.pad(fine, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    height, width = output

    def read(row: int, column: int) -> jax.Array:
        """Return what all windows have at one place of the kernel: [B,H',W',C]."""
        rows, columns = (
            slice(first * dilation, first * dilation + (length - 1) * strides + 1, strides)
            for first, length in ((row, height), (column, width))
        )
        return padded[:, rows, columns]

    size, features = kernel.shape[0], kernel.shape[3]
    patches = jnp.concatenate([read(row, column) for row in range(size) for column in range(size)], axis=3)
    y = _product(patches.reshape(-1, patches.shape[3]).astype(x.dtype), kernel.reshape(-1, features))
    return y.reshape(-1, height, width, features)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _canonical(x: jax.Array, kernel: jax.Array, strides: int, padding: int, dilation: int) -> jax.Array:
    """Convolve without groups; both gradients are convolutions of NHWC by HWIO."""
    return _plain(x, kernel, strides, padding, dilation)


def _forward(x: jax.Array, kernel: jax.Array, strides: int, padding: int, dilation: int):
    return _plain(x, kernel, strides, padding, dilation), (x, kernel)


def _backward(strides: int, padding: int, dilation: int, saved: tuple[jax.Array, jax.Array], g: jax.Array):
    x, kernel = saved
    return (
        _input_gradient(x.shape, kernel, g, strides, padding, dilation),
        kernel_gradient(x, kernel.shape, g, strides, padding, dilation),
    )


_canonical.defvjp(_forward, _backward)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _summed_in_float32(x: jax.Array, kernel: jax.Array, strides: int, padding: int, dilation: int) -> jax.Array:
    """Convolve bfloat16 without groups; the gradient of the kernel leaves its convolution in float32.

    Devices sum what leaves it, and the sum is rounded to bfloat16 behind it: a sum of rounded values would lose more
    with every device. The axes are those in which JAX writes its own gradient.
    """
    return _plain(x, kernel, strides, padding, dilation)


def _backward_in_float32(strides: int, padding: int, dilation: int, saved: tuple[jax.Array, jax.Array], g: jax.Array):
    x, kernel = saved
    dx = jax.vjp(lambda x: _plain(x, kernel, strides, padding, dilation), x)[1](g)[0]
    spans = [(m - 1) * strides + dilation * (kernel.shape[0] - 1) + 1 for m in g.shape[1:3]]
    dw = lax.conv_general_dilated(
        x,
        g,
        window_strides=(dilation, dilation),
        padding=[(padding, span - n - padding) for span, n in zip(spans, x.shape[1:3], strict=True)],
        rhs_dilation=(strides, strides),
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
        preferred_element_type=jnp.float32,
    )
    return dx, dw.astype(kernel.dtype)


_summed_in_float32.defvjp(_forward, _backward_in_float32)


@jax.custom_vjp
def _product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Return x [N,C] times kernel [C,D]."""
    return x @ kernel


def _product_forward(x: jax.Array, kernel: jax.Array):
    return x @ kernel, (x, kernel)


def _product_backward(saved: tuple[jax.Array, jax.Array], g: jax.Array):
    x, kernel = saved
    return lax.dot_general(g, kernel, (((1,), (1,)), ((), ()))), matrix_gradient(x, g)


_product.defvjp(_product_forward, _product_backward)


def _input_gradient(
    shape: tuple[int, ...], kernel: jax.Array, g: jax.Array, strides: int, padding: int, dilation: int
) -> jax.Array:
    """Return the gradient of x: g [B,H',W',D], spread out by the strides, convolved with the mirrored kernel."""
    reach = dilation * (kernel.shape[0] - 1)
    # After the last window there may be up to strides - 1 pixels that no window reads.
    unread = [n + 2 * padding - reach - 1 - (m - 1) * strides for n, m in zip(shape[1:3], g.shape[1:3], strict=True)]
    return lax.conv_general_dilated(
        g,
        kernel[::-1, ::-1].swapaxes(2, 3),
        window_strides=(1, 1),
        padding=[(reach - padding, reach - padding + rest) for rest in unread],
        lhs_dilation=(strides, strides),
        rhs_dilation=(dilation, dilation),
        dimension_numbers=NHWC,
    )
