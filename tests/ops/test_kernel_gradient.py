import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.ops import kernel_gradient as module
from resnet_jax.ops.kernel_gradient import kernel_gradient, matrix_gradient, part_size

MIB = 2**20


@pytest.mark.parametrize(
    ("images", "rows", "held", "result", "expected"),
    [
        (128, 32, 16 * MIB, 0, (8, 32)),  # ResNet-20, stage 1: whole images
        (128, 8, 4 * MIB, 0, (32, 8)),
        (8, 56, 12 * MIB, 0, (8, 5)),  # ResNet-50, stage 1: the fewest images, and rows of them
        (8, 7, 2 * MIB, 9 * MIB, (8, 7)),  # its last: the result is large, so that one part is best
        (127, 10, 127 * MIB, 0, (127, 1)),  # a prime number of images has no other divisor
        (1, 10, 10 * MIB, 0, (1, 1)),
    ],
)
def test_parts_fit_the_cache_and_divide_the_images(images, rows, held, result, expected):
    assert part_size(images, rows, held, result) == expected


@pytest.mark.parametrize("size", [3000, 10**9], ids=["several parts", "one part"])
def test_what_made_the_operands_is_not_computed_in_the_order_of_the_transposition(size, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    monkeypatch.setattr(module, "PART_BYTES", size)
    monkeypatch.setattr(module, "RESULTS_SHARE", 10**9)
    monkeypatch.setattr(module, "FEWEST_IMAGES", 2)
    x, g = jnp.ones((4, 8, 8, 3)), jnp.ones((4, 8, 8, 5))

    def of_products(x, g):
        return kernel_gradient(jnp.sin(x), (3, 3, 3, 5), jnp.cos(g), strides=1, padding=1, dilation=1)

    program = jax.jit(of_products).lower(x, g).compile().as_text() or ""
    computations = program.split("\n}\n")
    assert sum("= f32[4,8,8,3]{3,2,1,0} sine(" in text for text in computations) == 1
    assert not any("sine(" in text and "transpose(" in text for text in computations)


def test_sums_of_bfloat16_are_float32(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    monkeypatch.setattr(module, "PART_BYTES", 1)
    monkeypatch.setattr(module, "FEWEST_IMAGES", 1)
    ones = jnp.ones((512, 1, 1, 1), jnp.bfloat16)  # bfloat16 cannot count beyond 256 by ones
    assert kernel_gradient(ones, (1, 1, 1, 1), ones, strides=1, padding=0, dilation=1).item() == 512


@pytest.mark.parametrize("rows", [0, 512])
def test_matrices(rows, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    monkeypatch.setattr(module, "PART_BYTES", 1000)
    monkeypatch.setattr(module, "FEWEST_ROWS", rows)
    x, g = (jax.random.normal(jax.random.key(n), (9 * 40, n)) for n in (5, 7))
    np.testing.assert_allclose(matrix_gradient(x, g), np.asarray(x).T @ np.asarray(g), rtol=1e-5, atol=1e-5)
