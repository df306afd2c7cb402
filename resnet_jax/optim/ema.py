"""An exponential moving average (EMA) of parameters and normalization statistics; written back, it is Lookahead.

The average a of the trained values v is updated by a <- d a + (1 - d) v, once every few steps. Evaluated in place of v
it takes out the noise of the last steps (Polyak and Juditsky 1992). Where v is set to a at each update, the same line
is Lookahead (Zhang et al. 2019), with the fast weights v and the slow weights a.
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

Rise = Literal["none", "ramp", "copy", "cubic"]


@dataclass(frozen=True)
class Ema:
    """The settings of an EMA.

    Attributes:
        decay: d in [0, 1), the share of the old average that an update keeps.
        every: steps between updates.
        rise: how d rises from the start, while the parameters are still random: "none"; "ramp", at most
            (1 + n) / (10 + n) at the n-th update (TensorFlow, timm); "copy", 0 for the first `copy_steps` steps
            (torchvision, during the warm-up of the learning rate); "cubic", d (t / T)^3 at step t (airbench).
        copy_steps: of "copy".
        total_steps: T.
        write_back: Lookahead: the trained values are set to the average at every update, and after the last step of
            the training whatever `every` is.
    """

    decay: float
    every: int = 1
    rise: Rise = "ramp"
    copy_steps: int = 0
    total_steps: int = 1
    write_back: bool = False

    def decay_at(self, step: jax.Array) -> jax.Array:
        """Return the share that is kept after `step` steps; 1 where nothing is updated."""
        d = jnp.float32(self.decay)
        updates = (step // self.every).astype(jnp.float32)
        if self.rise == "ramp":
            d = jnp.minimum(d, (1 + updates) / (10 + updates))
        elif self.rise == "copy":
            d = jnp.where(step <= self.copy_steps, 0.0, d)
        elif self.rise == "cubic":
            d = d * (step.astype(jnp.float32) / self.total_steps) ** 3
        return jnp.where(step % self.every == 0, d, 1.0)

    def update(self, ema: Any, variables: Any, step: jax.Array) -> tuple[Any, Any]:
        """Return the EMA after `step` steps, and the values with which training goes on.

        Args:
            ema: pytree of float32 arrays.
            variables: the same tree, with the values after the step.
            step: int32 scalar, steps done.
        """
        kept = self.decay_at(step)
        # Equal values stay: rounding would move frozen ones.
        ema = jax.tree.map(lambda a, v: jnp.where(a == v, a, kept * a + (1 - kept) * v), ema, variables)
        if not self.write_back:
            return ema, variables
        sync = (step % self.every == 0) | (step == self.total_steps)
        return ema, jax.tree.map(lambda a, v: jnp.where(sync, a, v), ema, variables)
