"""Rules for sums over channels, windows and whole axes: kernels, pooling, resizing, normalization."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from resnet_jax.export.graph import PIXELS, Graph, Value, is_constant


def convolution(graph: Graph, eqn: Any, x: Value, kernel: Any) -> Value:
    """Write a convolution in any order of axes."""
    p = eqn.params
    lhs, rhs, out = p["dimension_numbers"]
    if any(d != 1 for d in p["lhs_dilation"]) or p["batch_group_count"] != 1 or not is_constant(kernel):
        raise NotImplementedError("a convolution whose kernel is computed, or with a dilated input")
    name = graph.add(
        "Conv",
        [graph.whole(x, lhs).name, graph.array(np.transpose(kernel, rhs), "kernel")],
        strides=p["window_strides"],
        pads=[before for before, _ in p["padding"]] + [after for _, after in p["padding"]],
        dilations=p["rhs_dilation"],
        group=p["feature_group_count"],
        kernel_shape=[kernel.shape[a] for a in rhs[2:]],
    )
    return Value(name, eqn.outvars[0].aval.shape, out)


def transposed_convolution(graph: Graph, eqn: Any, x: Value, kernel: Any, bias: Any) -> Value:
    """Write a transposed 2x2 convolution of stride 2."""
    arrays = [graph.array(np.transpose(kernel, (2, 3, 0, 1)), "kernel"), graph.array(bias, "bias")]
    name = graph.add("ConvTranspose", [graph.whole(x, PIXELS).name, *arrays], strides=[2, 2], kernel_shape=[2, 2])
    return Value(name, eqn.outvars[0].aval.shape, PIXELS)


def dense(graph: Graph, eqn: Any, x: Value, kernel: Any) -> Value:
    """Write the product of values [B,C] with a constant [C,D]."""
    contracted, batch = eqn.params["dimension_numbers"]
    if not is_constant(kernel) or len(x.shape) != 2 or kernel.ndim != 2 or any(batch) or contracted[0] != (1,):
        raise NotImplementedError("a product other than [B,C] with a constant [C,D]")
    x = graph.whole(x)
    # The pooled value [B,C,1,1] of the head.
    pooled = x.held()[:2] == [0, 1] and len(x.axes) > 2
    name = graph.add("Flatten", [x.name], axis=1) if pooled else graph.arranged(x, (0, 1))
    array = graph.array(kernel if contracted[1] == (0,) else kernel.T, "kernel")
    return Value(graph.add("Gemm", [name, array]), eqn.outvars[0].aval.shape, (0, 1))


def reduction(operator: str) -> Callable:
    """Return the rule for the sum or the maximum along axes; a sum is the mean, and its count waits."""

    def rule(graph: Graph, eqn: Any, x: Value) -> Value:
        x, axes = graph.applied(x), eqn.params["axes"]
        held = x.held()
        positions = [held.index(a) for a in axes if a in held]  # along others x repeats, or has one element
        name = x.name
        if sorted(positions) == [2, 3] and len(held) == 4:
            name = graph.add({"Mean": "GlobalAveragePool", "Max": "GlobalMaxPool"}[operator], [x.name])
        elif positions:
            name = graph.add(f"Reduce{operator}", [x.name, graph.array(positions, "axes", np.int64)], keepdims=1)
        left = {a: i for i, a in enumerate(a for a in range(len(x.shape)) if a not in axes)}
        result = Value(name, eqn.outvars[0].aval.shape, tuple(left.get(a) if a is not None else None for a in x.axes))
        return result.affine(math.prod(x.shape[a] for a in axes)) if operator == "Mean" else result

    return rule


def pooling(operator: str) -> Callable:
    """Return the rule for maxima or sums over windows; a sum is an average, and its count waits."""

    def rule(graph: Graph, eqn: Any, x: Value) -> Value:
        p = eqn.params
        windows, pads = p["window_dimensions"], p["padding"]
        plain = [*p["base_dilation"], *p["window_dilation"]] == [1] * 8
        if not plain or any((windows[a], p["window_strides"][a], *pads[a]) != (1, 1, 0, 0) for a in (0, 3)):
            raise NotImplementedError("windows over other axes than rows and columns, or dilated ones")
        extra = {"count_include_pad": 1} if operator == "AveragePool" else {}
        name = graph.add(
            operator,
            [graph.whole(x, PIXELS).name],
            kernel_shape=windows[1:3],
            strides=p["window_strides"][1:3],
            pads=[pad[0] for pad in pads[1:3]] + [pad[1] for pad in pads[1:3]],
            **extra,
        )
        result = Value(name, eqn.outvars[0].aval.shape, PIXELS)
        return result.affine(math.prod(windows)) if extra else result

    return rule


def reflect(graph: Graph, eqn: Any, x: Value) -> Value:
    """Surround an image by one row or column of its mirror image on each side."""
    pads = graph.array([0, 0, 1, 1] * 2, "pads", np.int64)
    return Value(
        graph.add("Pad", [graph.whole(x, PIXELS).name, pads], mode="reflect"), eqn.outvars[0].aval.shape, PIXELS
    )


def resize(graph: Graph, eqn: Any, x: Value) -> Value:
    """Resize images bilinearly, without antialiasing."""
    shape = eqn.outvars[0].aval.shape
    inputs = [graph.whole(x, PIXELS).name, "", "", graph.array(shape[1:3], "size", np.int64)]
    name = graph.add("Resize", inputs, mode="linear", coordinate_transformation_mode="half_pixel", axes=[2, 3])
    return Value(name, shape, PIXELS)


def normalize_groups(graph: Graph, eqn: Any, x: Value, scale: Any, bias: Any) -> Value:
    """Normalize groups of channels."""
    inputs = [graph.whole(x, PIXELS).name, graph.array(scale, "scale"), graph.array(bias, "bias")]
    name = graph.add("GroupNormalization", inputs, num_groups=eqn.params["groups"], epsilon=eqn.params["epsilon"])
    return Value(name, eqn.outvars[0].aval.shape, PIXELS)
