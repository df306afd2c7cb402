import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from resnet_jax.ops import kernel_gradient
from resnet_jax.ops.convolution import convolve


def plain(x, kernel, *, strides=1, padding=0, dilation=1, groups=1):
    return lax.conv_general_dilated(
        x,
        kernel,
        (strides, strides),
        ((padding, padding), (padding, padding)),
        rhs_dilation=(dilation, dilation),
        feature_group_count=groups,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def normal(seed, shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def values_and_gradients(conv, x, kernel):
    y, pull_back = jax.vjp(conv, x, kernel)
    g = normal(2, y.shape).astype(y.dtype)
    return y, *pull_back(g)


def assert_same(got, expected, tolerance=1e-5):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max(initial=1.0))


def inputs(batch=2, height=9, width=8, channels=4, features=6, k=3, groups=1, dtype=jnp.float32):
    x = normal(0, (batch, height, width, channels))
    kernel = normal(1, (k, k, channels // groups, features))
    return x.astype(dtype), kernel.astype(dtype)


def small_parts(patch, size=1500, images=2):
    """Kernel gradients in parts at toy sizes, as where the process has one device."""
    patch.setattr(kernel_gradient, "PART_BYTES", size)
    patch.setattr(kernel_gradient, "RESULTS_SHARE", 10**9)
    patch.setattr(kernel_gradient, "FEWEST_IMAGES", images)
    patch.setattr(jax, "device_count", lambda: 1)


@pytest.fixture
def parts(monkeypatch):
    small_parts(monkeypatch)


@pytest.mark.slow
@settings(deadline=None, max_examples=30, derandomize=True)
@given(
    k=st.sampled_from([1, 2, 3, 5, 7]),
    strides=st.sampled_from([1, 2, 3]),
    padding=st.integers(0, 3),
    dilation=st.sampled_from([1, 2]),
    height=st.integers(13, 16) | st.integers(1, 4),
    width=st.integers(13, 16) | st.integers(1, 4),
    groups=st.sampled_from([1, 1, 2]),
    batch=st.sampled_from([1, 2, 3, 4]),
    part_bytes=st.sampled_from([1, 2000, 10**6]),
)
def test_values_and_both_gradients_are_those_of_lax(
    k, strides, padding, dilation, height, width, groups, batch, part_bytes
):
    x, kernel = inputs(batch=batch, height=height, width=width, k=k, groups=groups)
    options = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    assume(min(height, width) + 2 * padding > dilation * (k - 1))
    ours, theirs = partial(convolve, **options), partial(plain, **options)
    both = jax.jit(lambda *args: (values_and_gradients(ours, *args), values_and_gradients(theirs, *args)))
    with pytest.MonkeyPatch.context() as patch:
        small_parts(patch, part_bytes)
        got, expected = both(x, kernel)
    assert_same(got, expected)


@pytest.mark.parametrize(
    ("side", "options"), [(0, {"padding": 1}), (0, {"k": 1}), (0, {"k": 1, "strides": 2}), (2, {}), (2, {"strides": 2})]
)
def test_nothing_comes_of_images_without_pixels(side, options):
    """A U-Net halves images to nothing, and pads what is left."""
    x, kernel = inputs(height=side, width=5, k=options.get("k", 3))
    options = {name: value for name, value in options.items() if name != "k"}
    got, expected = (values_and_gradients(partial(conv, **options), x, kernel) for conv in (convolve, plain))
    assert 0 in got[0].shape
    assert_same(got, expected)


@pytest.mark.parametrize(
    ("side", "k", "options"),
    [
        *(
            (side, k, options)
            for side, k in ((1, 3), (2, 3), (3, 5))
            for options in ({}, {"strides": 2}, {"dilation": 2})
        ),
        (4, 3, {"strides": 2}),  # the image of the gradient, 2x2, is smaller than the kernel
    ],
)
def test_images_smaller_than_the_kernel_are_no_convolution(side, k, options, parts):
    """XLA:CPU would loop naively over them, 80 times slower than a product of matrices."""
    x, kernel = inputs(height=side, width=side, k=k)
    options = {"padding": options.get("dilation", 1) * (k // 2)} | options
    ours = jax.jit(partial(values_and_gradients, partial(convolve, **options)))
    assert "convolution" not in ours.lower(x, kernel).as_text()
    assert_same(ours(x, kernel), values_and_gradients(partial(plain, **options), x, kernel))


def kernels_trained_in_scan(conv, x, kernel):
    def step(w, _):
        return w - 0.1 * jax.grad(lambda w: jnp.square(conv(x, w)).mean())(w), None

    return lax.scan(step, kernel, length=3)[0]


@pytest.mark.parametrize("side", [2, 9])
def test_inside_scan_checkpoint_and_vmap(side, parts):
    x, kernel = inputs(height=side, width=side)
    for options in ({"strides": 2, "padding": 1}, {"strides": 1, "padding": 2, "dilation": 2}):
        ours, theirs = partial(convolve, **options), partial(plain, **options)
        trained = jax.jit(partial(kernels_trained_in_scan, theirs))
        expected = trained(x, kernel)
        assert_same(jax.jit(partial(kernels_trained_in_scan, ours))(x, kernel), expected)
        assert_same(jax.jit(partial(kernels_trained_in_scan, jax.checkpoint(ours)))(x, kernel), expected)
        seeds = jnp.stack([kernel, 2 * kernel])
        got = jax.jit(jax.vmap(partial(kernels_trained_in_scan, ours), in_axes=(None, 0)))(x, seeds)
        assert_same(got[0], expected)
        assert_same(got[1], trained(x, 2 * kernel))


@pytest.mark.parametrize("side", [2, 9])
def test_hessian_vector_product(side, parts):
    x, kernel = inputs(height=side, width=side)

    @partial(jax.jit, static_argnums=0)
    def product(conv):
        loss = lambda w: jnp.square(jnp.sin(conv(x, w, padding=1))).sum()  # noqa: E731
        return jax.jvp(jax.grad(loss), (kernel,), (jnp.ones_like(kernel),))[1]

    assert_same(product(convolve), product(plain))


@pytest.mark.parametrize("side", [2, 9])
def test_bfloat16(side, parts):
    x, kernel = inputs(height=side, width=side, dtype=jnp.bfloat16)
    got = values_and_gradients(partial(convolve, padding=1), x, kernel)
    assert all(a.dtype == jnp.bfloat16 for a in got)
    exact = values_and_gradients(partial(plain, padding=1), x.astype(jnp.float32), kernel.astype(jnp.float32))
    assert_same(jax.tree.map(lambda a: a.astype(jnp.float32), got), exact, tolerance=2**-8)


@pytest.mark.parametrize(("k", "side"), [(1, 9), (3, 9), (3, 2)])
def test_a_sharded_batch_reduces_kernel_gradients_and_gathers_nothing(k, side):
    mesh = Mesh(np.array(jax.devices()), ("batch",))
    x, kernel = inputs(batch=16, height=side, width=side, k=k)
    conv = partial(convolve, strides=2, padding=k // 2)
    expected = values_and_gradients(conv, x, kernel)
    sharded, replicated = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("batch",), ()))
    step = jax.jit(
        partial(values_and_gradients, conv),
        in_shardings=(sharded, replicated),
        out_shardings=(sharded, sharded, replicated),
    )
    assert_same(step(x, kernel), expected)
    program = step.lower(x, kernel).compile().as_text() or ""
    assert len(re.findall(r"= \S+ all-reduce(-start)?\(", program)) == 1
    assert "while" not in program
    assert not re.search(r"all-gather|all-to-all|collective-permute", program)


def test_other_backends_have_the_plain_convolution(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    for k in (1, 3):
        x, kernel = inputs(k=k)
        traced = jax.make_jaxpr(partial(convolve, padding=1))(x, kernel)
        assert [equation.primitive.name for equation in traced.jaxpr.eqns] == ["conv_general_dilated"]
