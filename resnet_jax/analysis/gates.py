"""Gate biases and activities of a trained highway network (Srivastava et al. 2015, arXiv:1507.06228, section 4.1).

The transform gate T mixes a layer's output and its input: at 0 the input is carried on. In the paper's figure 2 the
biases rise with depth while the gates' mean activity falls: low biases near the image do not close the gates, they make
them selective, so that few of them open for any one image.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from resnet_jax.analysis.capture import apply_watched, leaves_of, name_of
from resnet_jax.analysis.map_batches import map_batches
from resnet_jax.errors import InputError


@dataclass(frozen=True)
class Gates:
    """The gates of a network, the layer nearest to the image first.

    Attributes:
        names: L blocks that have gates.
        bias: for each block, float32 [C], of every channel's gate.
        activity: for each block, float32 [C], mean of every channel's gate over images and positions, in [0, 1].
        spread: for each block, float32 [C], standard deviation of every channel's gate over images and positions.
    """

    names: tuple[str, ...]
    bias: tuple[np.ndarray, ...]
    activity: tuple[np.ndarray, ...]
    spread: tuple[np.ndarray, ...]


def gate_values(model: nn.Module, variables: Any, images: np.ndarray, *, batch_size: int = 250) -> Gates:
    """Compute biases and activities of all gates, of highway networks and of residual networks with gated shortcuts.

    Args:
        model: a network whose blocks have a convolution called "gate".
        variables: its variables.
        images: float32 [N,H,W,3], normalized.
        batch_size: images computed at once.

    Raises:
        InputError: the network has no gates.
    """
    names: list[str] = []
    widths: list[int] = []

    @jax.jit
    def moments(variables: Any, images: jax.Array) -> jax.Array:
        values: dict[str, jax.Array] = {}

        def watch(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if module.path and module.path[-1] == "gate":
                values[name_of(module)] = nn.sigmoid(output.astype(jnp.float32))

        apply_watched(model, variables, images, watch, train=False)
        if not values:
            raise InputError(f"{type(model).__name__} has no gates; give a highway network")
        names[:], widths[:] = values, [v.shape[-1] for v in values.values()]
        means = [jnp.stack([v.mean(axis=(1, 2)), jnp.square(v).mean(axis=(1, 2))], axis=1) for v in values.values()]
        return jnp.concatenate(means, axis=-1)

    mean, square = map_batches(partial(moments, variables), batch_size, images).mean(axis=0, dtype=np.float64)
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    ends = np.cumsum(widths)[:-1]
    return Gates(
        names=tuple(name.rpartition("/")[0] for name in names),
        bias=tuple(np.asarray(leaves_of(variables["params"], name)["bias"]) for name in names),
        activity=tuple(np.split(mean.astype(np.float32), ends)),
        spread=tuple(np.split(spread.astype(np.float32), ends)),
    )
