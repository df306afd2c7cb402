import jax
import jax.numpy as jnp
import numpy as np

from resnet_jax.layers.stochastic_depth import StochasticDepth


def test_stochastic_depth_leaves_out_whole_examples_and_keeps_the_mean():
    x = jnp.ones((4000, 2, 2, 1))
    y = np.asarray(StochasticDepth(0.25, deterministic=False).apply({}, x, rngs={"dropout": jax.random.key(0)}))
    kept = y[:, 0, 0, 0] > 0
    np.testing.assert_allclose(y, np.where(kept[:, None, None, None], 1 / 0.75, 0.0) * np.ones_like(x), rtol=1e-6)
    assert abs(kept.mean() - 0.75) < 0.03
    assert StochasticDepth(0.25, deterministic=True).apply({}, x) is x
