"""An exponential moving average of the parameters and of the normalization statistics; written back, it is Lookahead.

The average a follows the trained values v by a <- d a + (1 - d) v, once every few steps. Evaluated in place of v it
takes out the noise of the last steps (Polyak and Juditsky 1992). Where v is set to a each time, the same line is
Lookahead (Zhang et al. 2019), with the fast weights v and the slow weights a.
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

Rise = Literal["none", "ramp", "copy", "cubic"]


@dataclass(frozen=True)
class Ema:
    """How an average follows.

    Attributes:
        decay: d, the share that is kept at every update.
        every: steps between updates.
        rise: how d rises from the start, where the values are worth nothing: "none"; "ramp", at most
            (1 + n) / (10 + n) at the n-th update (TensorFlow, timm); "copy", 0 for the first `copy_steps` steps
            (torchvision, during the warm-up of the rate); "cubic", d (t / T)^3 of the way (airbench).
        copy_steps: of "copy".
        total_steps: T.
        write_back: Lookahead: the trained values are set to the average at every update. At the last step of the
            training they end as the average whatever `every` is.
    """

    decay: float
    every: int = 1
    rise: Rise = "ramp"
    copy_steps: int = 0
    total_steps: int = 1
    write_back: bool = False

    def decay_at(self, step: jax.Array) -> jax.Array:
        """The share that is kept after `step` steps; 1 where nothing is updated."""
        d = jnp.float32(self.decay)
        updates = (step // self.every).astype(jnp.float32)
        if self.rise == "ramp":
            d = jnp.minimum(d, (1 + updates) / (10 + updates))
        elif self.rise == "copy":
            d = jnp.where(step <= self.copy_steps, 0.0, d)
        elif self.rise == "cubic":
            d = d * (step.astype(jnp.float32) / self.total_steps) ** 3
        return jnp.where(step % self.every == 0, d, 1.0)

    def follow(self, average: Any, variables: Any, step: jax.Array) -> tuple[Any, Any]:
        """The average after `step` steps, and the values with which training goes on.

        Args:
            average: pytree of float32 arrays.
            variables: the same tree, as the step has left it.
            step: int32 scalar, steps done.
        """
        kept = self.decay_at(step)
        average = jax.tree.map(lambda a, v: kept * a + (1 - kept) * v, average, variables)
        if not self.write_back:
            return average, variables
        sync = (step % self.every == 0) | (step == self.total_steps)
        return average, jax.tree.map(lambda a, v: jnp.where(sync, a, v), average, variables)
