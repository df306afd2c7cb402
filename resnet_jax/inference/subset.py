"""A trained network reduced to some of its classes, for sets that hold no others."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from resnet_jax.data.notices import print_notice
from resnet_jax.errors import InputError
from resnet_jax.inference.trained import Trained
from resnet_jax.weights.shapes import head_paths, options_of, variable_shapes

LISTED = 5  # names that an error spells out before it only counts


def with_classes(trained: Trained, class_names: Sequence[str]) -> Trained:
    """Return the network with the logits of these classes alone, in this order; print a line that says so.

    Args:
        trained: the network.
        class_names: names among its own.

    Raises:
        InputError: its classes have no names, or it lacks some of these.
    """
    if trained.class_names is None:
        raise InputError(f"--subset goes by names, and those of the classes of {trained.source} are not known")
    number = {name: k for k, name in enumerate(trained.class_names)}
    if missing := [name for name in class_names if name not in number]:
        more = f" and {len(missing) - LISTED} more" if missing[LISTED:] else ""
        raise InputError(
            f"--subset: {trained.source} has no class {', '.join(map(repr, missing[:LISTED]))}{more} among its "
            f"{trained.num_classes}; the set's classes must have the names of the network's"
        )
    kept = [number[name] for name in class_names]
    options = options_of(trained.name, trained.model)
    shapes = variable_shapes(trained.name, trained.num_classes, options)
    leaves: dict[tuple[str, ...], Any] = flatten_dict(trained.variables)
    for path in head_paths(trained.name, shapes, trained.num_classes, options):
        leaves[path] = np.asarray(leaves[path])[..., kept]
    print_notice(f"{trained.source}: of {trained.num_classes:,} classes the set's {len(kept):,} alone count (--subset)")
    return replace(
        trained,
        model=trained.model.clone(num_classes=len(kept)),
        variables=unflatten_dict(leaves),
        class_names=tuple(class_names),
    )
