"""A network for dense prediction around the weights of a classifier."""

from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from resnet_jax.run.build import Run

ENCODER = "backbone"


def around_encoder(run: Run, classifier: Any) -> Any:
    """Return the variables of a run's network on the host: the encoder's of a classifier, the others a new network's.

    Args:
        run: the run.
        classifier: its variables; the head is left out.
    """
    shape = (1, run.data.image_size, run.data.image_size, 3)

    def drawn(key: jax.Array) -> dict[tuple[str, ...], Any]:  # inside jit, the encoder's are never computed
        leaves: dict[tuple[str, ...], Any] = flatten_dict(run.model.init(key, jnp.zeros(shape), train=False))
        return {path: leaf for path, leaf in leaves.items() if path[1] != ENCODER}

    leaves = jax.device_get(jax.jit(drawn)(jax.random.key(run.config.seed)))
    old: dict[tuple[str, ...], Any] = flatten_dict(classifier)
    kept = {(kind, ENCODER, *path): leaf for (kind, *path), leaf in old.items() if not path[0].startswith(HEADS)}
    return unflatten_dict(leaves | kept)


HEADS = ("head", "aux")  # of classifiers; the normalization before a head is its own
