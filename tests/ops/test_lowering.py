"""Every lowering of a layer computes what JAX's own does, and is used when it is listed."""

from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

from resnet_jax import create_model
from resnet_jax.errors import InputError
from resnet_jax.models.counts import abstract_variables
from resnet_jax.ops.lowering import LOWERINGS, active_lowerings, is_active

SIZE = 32


@pytest.fixture(scope="module")
def network() -> Any:
    """A small ResNet-50 with ImageNet's stem, some variables, and images."""
    model: Any = create_model("resnet50", num_classes=3).clone(stage_sizes=(1, 1), width=8)
    rng = np.random.default_rng(0)

    def some(leaf):
        return rng.normal(size=leaf.shape).astype(np.float32) / max(1, leaf.size // leaf.shape[-1]) ** 0.5

    variables = jax.tree.map(some, abstract_variables(model, SIZE)["params"])
    return model, variables, rng.normal(size=(4, SIZE, SIZE, 3)).astype(np.float32)


def loss(params, model, images):
    outputs, _ = model.apply({"params": params, **statistics(model)}, images, train=True, mutable=["batch_stats"])
    return (outputs**2).mean()


def statistics(model):
    shapes = abstract_variables(model, SIZE)["batch_stats"]
    return {"batch_stats": jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)}


@pytest.fixture(scope="module")
def without_lowerings(network) -> Any:
    """The loss and its gradient by JAX's own operations, and the jaxpr of the loss."""
    model, params, images = network
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESNET_JAX_FORMS", "")
        # A new function each time: what was traced with another lowering would be reused.
        expected = jax.jit(jax.value_and_grad(partial(loss, model=model, images=images)))(params)
        return expected, str(jax.make_jaxpr(partial(loss, model=model, images=images))(params))


# float32_gradients is for bfloat16: tests/ops/test_convolution.py.
@pytest.mark.slow
@pytest.mark.parametrize("lowering", [name for name in LOWERINGS if name != "float32_gradients"])
def test_the_gradient_of_a_network_is_the_same(lowering, network, without_lowerings, monkeypatch):
    model, params, images = network
    expected, plain = without_lowerings
    monkeypatch.setenv("RESNET_JAX_FORMS", lowering)
    found = jax.jit(jax.value_and_grad(partial(loss, model=model, images=images)))(params)
    assert str(jax.make_jaxpr(partial(loss, model=model, images=images))(params)) != plain
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())


def test_by_default_the_backend_decides(monkeypatch):
    monkeypatch.delenv("RESNET_JAX_FORMS", raising=False)
    assert active_lowerings() == ["batch_norm", "canonical", "kept_places"]
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert active_lowerings() == ["batch_norm", "kept_places", "output_relu", "space_to_depth"]
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert not active_lowerings()
    monkeypatch.setenv("RESNET_JAX_FORMS", "space_to_depth,matrix_product")
    assert active_lowerings() == ["matrix_product", "space_to_depth"]


def test_an_unknown_lowering_is_refused(monkeypatch):
    monkeypatch.setenv("RESNET_JAX_FORMS", "fast")
    says = "RESNET_JAX_FORMS=fast: fast is not a lowering; known are batch_norm, canonical"
    with pytest.raises(InputError, match=says):
        is_active("canonical")
