import jax
import jax.numpy as jnp
from flax import linen as nn


class StochasticDepth(nn.Module):
    """In training, zeroes whole examples of x [B,…] with probability `rate`, and scales up the others.

       Huang et al. 2016, arXiv:1603.09382.
    At the end of a residual branch this leaves out the block. Draws from the "dropout" key. Inside a loop over blocks
    the rate is a traced scalar.
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
