"""Auxiliary heads, which only training needs: many a file of weights was written without them."""

from collections.abc import Collection
from typing import Any, cast

from flax.traverse_util import flatten_dict

from resnet_jax.models.registry import create_model
from resnet_jax.weights.layout import Layout, LeafPath, names_and_shapes
from resnet_jax.weights.shapes import Options, head_paths, variable_shapes

# Options of networks that build them.
BUILDS_HEADS = ("aux_heads", "aux_head")


def auxiliary_paths(name: str, num_classes: int | None, options: Options) -> list[LeafPath]:
    """Return the leaves of a network's auxiliary heads; none where its options leave them out or it has no such head.

    Args:
        name: the network.
        num_classes: K; None is the network's own.
        options: of `create_model`, beside the number of classes.
    """
    without = _left_out(name, options)
    if not without:
        return []
    rest = flatten_dict(variable_shapes(name, num_classes, {**options, **without}))
    leaves: dict[LeafPath, Any] = flatten_dict(variable_shapes(name, num_classes, options))
    return [path for path in leaves if path not in rest]


def options_for(name: str, options: Options, tensors: Collection[str], layout: Layout) -> Options:
    """Return a network's options, without auxiliary heads where a file has all other tensors and none of theirs.

    Args:
        name: the network.
        options: of `create_model`, beside the number of classes.
        tensors: names of those in the file.
        layout: of the file.
    """
    heads = auxiliary_paths(name, None, options)
    if not heads:
        return options
    shapes = variable_shapes(name, None, options)
    in_file = {path: wanted in tensors for path, (wanted, _) in names_and_shapes(shapes, layout).items()}
    # Of another file, such as the encoder's alone, the absent heads say nothing.
    rest = in_file.keys() - {*heads, *head_paths(name, shapes, None, options)}
    if any(in_file[path] for path in heads) or not all(in_file[path] for path in rest):
        return options
    return {**options, **_left_out(name, options)}


def _left_out(name: str, options: Options) -> dict[str, bool]:
    model = cast(Any, create_model(name, **options))
    return {option: False for option in BUILDS_HEADS if getattr(model, option, False)}
