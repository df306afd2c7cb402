"""Names and axes of the tensors in a file, and the way from them to variables and back.

Both ways, and the list of what does not fit, go through one table: for every leaf of the network's variables, the name
and the shape that it has in the file.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from resnet_jax.errors import InputError

LeafPath = tuple[str, ...]  # such as ("params", "stage1_block01", "conv1", "kernel")
Tensors = dict[str, np.ndarray]

LISTED = 5  # names that an error spells out before it only counts


@dataclass(frozen=True)
class Layout:
    """The names and axes that variables have in a file.

    Attributes:
        name: maps a leaf's path to the tensor's name.
        to_file: maps (path, our array) to the file's array.
        to_ours: the inverse of `to_file`.
        ignored: tells whether a tensor of that name holds nothing that a network needs.
    """

    name: Callable[[LeafPath], str]
    to_file: Callable[[LeafPath, np.ndarray], np.ndarray]
    to_ours: Callable[[LeafPath, np.ndarray], np.ndarray]
    ignored: Callable[[str], bool] = lambda name: False


def unchanged(path: LeafPath, array: np.ndarray) -> np.ndarray:
    """Return the array as it is."""
    return array


# Our own files: "params/stage1_block01/conv1/kernel", arrays as they are.
OURS = Layout(name="/".join, to_file=unchanged, to_ours=unchanged)


def to_tensors(variables: Any, layout: Layout) -> Tensors:
    """Return the tensors of a file in that layout, from variables."""
    leaves = flatten_dict(variables)
    return {
        layout.name(path): np.ascontiguousarray(layout.to_file(path, np.asarray(leaf))) for path, leaf in leaves.items()
    }


def to_variables(
    tensors: Mapping[str, np.ndarray], shapes: Any, layout: Layout, without: Collection[LeafPath] = ()
) -> Any:
    """Return variables, float32, from the tensors of a file in that layout.

    Args:
        tensors: by name.
        shapes: of the network's variables, as `jax.eval_shape` gives them.
        layout: of the tensors.
        without: leaves to leave out, whatever the file holds under their names.

    Raises:
        InputError: tensors are missing, unknown, of another shape, not finite, or negative variances; they are listed.
    """
    table = names_and_shapes(shapes, layout)
    left_out = {table.pop(path)[0] for path in without}
    found = {name: t for name, t in tensors.items() if name not in left_out and not layout.ignored(name)}
    check(found, dict(table.values()))
    check_values(found, [name for path, (name, _) in table.items() if path[-1] == "var"])
    return unflatten_dict(
        {path: np.ascontiguousarray(layout.to_ours(path, found[name]), np.float32) for path, (name, _) in table.items()}
    )


def names_and_shapes(shapes: Any, layout: Layout) -> dict[LeafPath, tuple[str, tuple[int, ...]]]:
    """Return, for every leaf, the name and the shape that it has in a file of that layout."""
    leaves: dict[LeafPath, Any] = flatten_dict(shapes)
    # An array of that shape without memory of its own: only what the layout makes of the shape counts.
    empty = {path: np.broadcast_to(np.float32(0), leaf.shape) for path, leaf in leaves.items()}
    return {path: (layout.name(path), layout.to_file(path, array).shape) for path, array in empty.items()}


def check(tensors: Mapping[str, np.ndarray], wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Compare the tensors of a file with what the network needs.

    Raises:
        InputError: some are missing, unknown or of another shape.
    """
    missing = [name for name in wanted if name not in tensors]
    unknown = [name for name in tensors if name not in wanted]
    shaped = [
        f"{name} {list(tensors[name].shape)} where the network has {list(shape)}"
        for name, shape in wanted.items()
        if name in tensors and tensors[name].shape != shape
    ]
    kinds = (("missing", missing), ("unknown", unknown), ("of another shape", shaped))
    if any(names for _, names in kinds):
        raise InputError("; ".join(_listing(kind, names) for kind, names in kinds if names))


def check_values(tensors: Mapping[str, np.ndarray], variances: Collection[str]) -> None:
    """Check the numbers of tensors: one NaN makes every prediction NaN, a negative variance makes them wrong.

    Raises:
        InputError: some are not finite, or a variance is negative.
    """
    broken = [name for name, tensor in tensors.items() if not np.isfinite(tensor).all()]
    negative = [name for name in variances if (tensors[name] < 0).any()]
    kinds = (("with NaN or infinite numbers", broken), ("with negative variances", negative))
    if broken or negative:
        raise InputError("; ".join(_listing(kind, names) for kind, names in kinds if names) + "; get another copy")


def _listing(kind: str, names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{len(names)} {kind}: {', '.join(names[:LISTED])}{more}"
