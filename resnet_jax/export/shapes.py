"""Rules for what changes shapes; most take no operator, because a value knows which axis of the graph is which."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from resnet_jax.export.graph import Graph, Value, is_constant, renamed, usual_axes

MOST_PARTS = 8  # into which an axis is divided without a Reshape


def reshape(graph: Graph, eqn: Any, x: Value) -> Value:
    """Drop or add axes of one element, which takes no operator; flatten all axes but the first; or divide the last."""
    new = eqn.outvars[0].aval.shape
    old_axes, new_axes = ([a for a, size in enumerate(shape) if size != 1] for shape in (x.shape, new))
    if [x.shape[a] for a in old_axes] == [new[a] for a in new_axes]:
        return renamed(x, new, dict(zip(old_axes, new_axes, strict=True)))
    if new[:-2] == x.shape[:-1] and new[-2] <= MOST_PARTS:
        return divide_last(graph, x, new)
    if len(new) != 2 or new[0] != x.shape[0]:
        raise NotImplementedError(f"a change of shape from {x.shape} to {new}")
    return Value(graph.add("Flatten", [graph.whole(x, tuple(range(len(x.shape)))).name], axis=1), new, (0, 1))


def divide_last(graph: Graph, x: Value, shape: Sequence[Any]) -> Value:
    """Divide the last axis in two, of n and m elements; n is the second axis in the graph, and small."""
    last, count = len(shape) - 2, shape[-2]
    x = graph.whole(x)
    sizes = graph.array([shape[-1]] * count, "sizes", np.int64)
    parts = graph.add("Split", [x.name, sizes], outputs=count, axis=x.axes.index(last))
    axes = [a if a != last else last + 1 for a in x.axes]
    return Value(stacked(graph, parts), tuple(shape), (axes[0], last, *axes[1:]))


def stacked(graph: Graph, names: Sequence[str]) -> str:
    """Append values of the graph along a new axis, the second; return the result's name."""
    second = graph.array([1], "axes", np.int64)
    return graph.add("Concat", [graph.add("Unsqueeze", [name, second]) for name in names], axis=1)


def transpose(graph: Graph, eqn: Any, x: Value) -> Value:
    """Reorder the axes, which takes no operator."""
    order = eqn.params["permutation"]
    return renamed(x, eqn.outvars[0].aval.shape, {a: i for i, a in enumerate(order)})


def broadcast(graph: Graph, eqn: Any, x: Any) -> Any:
    """Repeat along axes, which takes no operator: all that reads the result repeats by itself."""
    shape, to = eqn.params["shape"], eqn.params["broadcast_dimensions"]
    if not is_constant(x):
        return renamed(x, shape, dict(enumerate(to)))
    sizes = [1] * len(shape)
    for a, b in enumerate(to):
        sizes[b] = x.shape[a]
    return np.reshape(x, sizes)


def concatenate(graph: Graph, eqn: Any, *xs: Any) -> Value:
    """Append values along an axis that each has."""
    if any(map(is_constant, xs)):
        raise NotImplementedError("constants beside values")
    first, axis = graph.whole(xs[0]), eqn.params["dimension"]
    axes = first.axes if axis in first.axes else usual_axes(first.shape)
    names = [graph.whole(x, axes).name for x in xs]
    return Value(graph.add("Concat", names, axis=axes.index(axis)), eqn.outvars[0].aval.shape, axes)


def stack(graph: Graph, eqn: Any, *xs: Value) -> Value:
    """Append values along a new axis, the second in the graph."""
    axis, shape = eqn.params["axis"], eqn.outvars[0].aval.shape
    wholes = [graph.whole(x) for x in xs]
    axes = wholes[0].axes
    name = stacked(graph, [graph.whole(x, axes).name for x in wholes])
    moved = [None if a is None else a + (a >= axis) for a in axes]
    return Value(name, shape, (moved[0], axis, *moved[1:]))


def split(graph: Graph, eqn: Any, x: Value) -> list[Value]:
    """Divide a value into parts along an axis."""
    x, sizes, axis = graph.whole(x), eqn.params["sizes"], eqn.params["axis"]
    inputs = [x.name, graph.array(sizes, "sizes", np.int64)]
    names = graph.add("Split", inputs, outputs=len(sizes), axis=x.axes.index(axis))
    return [Value(name, v.aval.shape, x.axes) for name, v in zip(names, eqn.outvars, strict=True)]


def take_range(graph: Graph, eqn: Any, x: Value) -> Value:
    """Take a range along axes."""
    x, p, new = graph.whole(x), eqn.params, eqn.outvars[0].aval.shape
    axes = [a for a in range(len(new)) if new[a] != x.shape[a]]
    steps = p["strides"] or [1] * len(new)
    ranges = [[values[a] for a in axes] for values in (p["start_indices"], p["limit_indices"])]
    lists = [*ranges, [x.axes.index(a) for a in axes], [steps[a] for a in axes]]
    names = [graph.array(values, "range", np.int64) for values in lists]
    return Value(graph.add("Slice", [x.name, *names]), new, x.axes) if axes else x


def pad(graph: Graph, eqn: Any, x: Value, constant: Any) -> Value:
    """Surround a value by a constant."""
    config = eqn.params["padding_config"]
    if any(inside for _, _, inside in config):
        raise NotImplementedError("padding between elements")
    if not any(before or after for before, after, _ in config):
        return x
    x = graph.whole(x, usual_axes(x.shape))
    pads = [config[a][side] for side in (0, 1) for a in x.axes if a is not None]
    inputs = [x.name, graph.array(pads, "pads", np.int64), graph.array(constant, "constant")]
    return Value(graph.add("Pad", inputs), eqn.outvars[0].aval.shape, x.axes)
