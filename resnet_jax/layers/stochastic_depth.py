"""Stochastic depth: residual branches left out at random in training."""

import jax
import jax.numpy as jnp
from flax import linen as nn


class StochasticDepth(nn.Module):
    """Stochastic depth: in training whole examples of x [B,…] become zero, the others are scaled up (Huang et al. 2016,
    arXiv:1603.09382).

    At the end of a residual branch this leaves out the block. Draws from the "dropout" key.

    Attributes:
        rate: probability with which an example is zeroed, in [0, 1); within a loop over blocks, a traced scalar.
        deterministic: return x as it is, as in evaluation.
    """

    rate: float | jax.Array
    deterministic: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.deterministic or (not isinstance(self.rate, jax.Array) and not self.rate):
            return x
        keep = 1.0 - self.rate
        kept = jax.random.bernoulli(self.make_rng("dropout"), keep, (x.shape[0],) + (1,) * (x.ndim - 1))
        return jnp.where(kept, x / jnp.asarray(keep, x.dtype), jnp.zeros_like(x))
