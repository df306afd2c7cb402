"""Parts of a run's network that the weights to start from do not have: a new head, or all but the encoder."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from resnet_jax.config.options import Config
from resnet_jax.models.counts import abstract_variables
from resnet_jax.run.build import Run
from resnet_jax.weights.auxiliary import auxiliary_paths
from resnet_jax.weights.shapes import head_paths, initial_leaves, variable_shapes

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
    in_place: dict[tuple[str, ...], Any] = {(kind, ENCODER, *path): leaf for (kind, *path), leaf in old.items()}
    wanted: dict[tuple[str, ...], Any] = flatten_dict(abstract_variables(run.model, run.data.image_size))
    return unflatten_dict(leaves | {path: leaf for path, leaf in in_place.items() if path in wanted})


def with_head(
    config: Config, options: Any, variables: Any, names: Sequence[str] | None, classes: Sequence[str]
) -> tuple[Any, int]:
    """Return the variables with a head for `classes`, and how many of them it kept by name.

    Auxiliary heads that the variables do not have are drawn as a new network's.

    Args:
        config: of the run.
        options: of the network.
        variables: with the head of `names`, another one, or none.
        names: of the classes of the variables; None where they are not known.
        classes: K names.
    """
    shapes = variable_shapes(config.model, len(classes), options)
    head = head_paths(config.model, shapes, len(classes), options)
    old: dict[tuple[str, ...], Any] = flatten_dict(variables)
    lacking = [path for path in auxiliary_paths(config.model, len(classes), options) if path not in old]
    new = initial_leaves(config.model, [*head, *lacking], len(classes), config.seed, options)
    shared = [path for path in head if path not in lacking]
    index = {name: number for number, name in enumerate(names or ())}
    fits = all(path in old and old[path].shape[:-1] == new[path].shape[:-1] for path in shared)
    pairs = [(k, index[name]) for k, name in enumerate(classes) if name in index] if fits else []
    for path in shared:
        if pairs:
            leaf = np.array(new[path])
            ours, theirs = (list(numbers) for numbers in zip(*pairs, strict=True))
            leaf[..., ours] = np.asarray(old[path])[..., theirs]
            new[path] = leaf
    return unflatten_dict(old | new), len(pairs)
