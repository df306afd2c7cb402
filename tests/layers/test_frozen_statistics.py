"""Statistics that stay in training: of the layers that are named, however the blocks are compiled."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from resnet_jax.layers.frozen_statistics import WithFrozenStatistics
from resnet_jax.models.registry import create_model
from resnet_jax.optim.freeze import frozen_by


def statistics_that_moved(frozen: str, name: str = "resnet20_cifar", **options: Any) -> set[str]:
    """Return the layers of a network, or the parts of one around an encoder, whose statistics a step would move."""
    model: Any = create_model(name, num_classes=3, **options)
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3))))
    variables = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.1, leaf.dtype), variables)
    images = jax.random.normal(jax.random.key(1), (4, 8, 8, 3))
    network = WithFrozenStatistics(model, frozen_by(frozen))
    apply = jax.jit(lambda v, x: network.apply(v, x, train=True, mutable=["batch_stats"])[1])
    old: dict[Any, Any] = flatten_dict(variables["batch_stats"])
    new: dict[Any, Any] = flatten_dict(apply(variables, images)["batch_stats"])
    assert set(old) == set(new)
    return {path[0] for path in old if not np.array_equal(old[path], new[path])}


@pytest.mark.parametrize("options", [{}, {"remat": True}, {"scan": True}, {"scan": True, "remat": True}])
def test_named_statistics_stay_however_blocks_are_compiled(options):
    moved = statistics_that_moved("stem..stage2", width=2, **options)
    assert moved == {f"stage3_block0{number}" for number in (1, 2, 3)}
    assert "backbone" not in statistics_that_moved("backbone", "unet_resnet20_cifar", **options)


def test_a_frozen_normalization_has_no_gradient_beside_kept_statistics():
    model: Any = create_model("resnet8_cifar", num_classes=3, width=2, norm="frozen")
    variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    network = WithFrozenStatistics(model, frozen_by("*"))

    def loss(params):
        return network.apply(variables | {"params": params}, jnp.ones((2, 8, 8, 3)), train=True).std()

    grads: dict[Any, Any] = flatten_dict(jax.grad(loss)(variables["params"]))
    norms = {
        path: float(jnp.abs(leaf).max()) for path, leaf in grads.items() if path[-2].startswith(("norm", "stem_n"))
    }
    assert norms
    assert set(norms.values()) == {0.0}
    assert any(float(jnp.abs(leaf).max()) for leaf in grads.values())
