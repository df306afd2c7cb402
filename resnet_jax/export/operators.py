"""Operators of ONNX for the primitives of a traced network: one table.

By primitive and not by layer: a network is then whatever it computes, and a new one is exported without a line here. A
few layers for which ONNX has one operator are found by name: modules (`MODULES`) are replaced by a primitive of their
own while the network is traced, functions are known by the name that `jax.jit` gives them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from flax import linen as nn
from jax.extend.core import Primitive

from resnet_jax.export.graph import PIXELS, Graph, Value, laid_out, usual_axes
from resnet_jax.models.unet import UpConv

MOST_PARTS = 8  # into which an axis is divided without a Reshape

group_norm, up_conv = Primitive("group_norm"), Primitive("up_conv")
group_norm.def_abstract_eval(lambda x, scale, bias, **_: x)
up_conv.def_abstract_eval(
    lambda x, kernel, bias: x.update(shape=(x.shape[0], 2 * x.shape[1], 2 * x.shape[2], bias.shape[0]))
)
MODULES: dict[type, Callable] = {
    nn.GroupNorm: lambda m, x, scale, bias: group_norm.bind(
        x, scale, bias, groups=m.num_groups or x.shape[-1] // m.group_size, epsilon=m.epsilon
    ),
    UpConv: lambda m, x, kernel, bias: up_conv.bind(x, kernel, bias),
}
PARAMETERS = {nn.GroupNorm: ("scale", "bias"), UpConv: ("kernel", "bias")}


def as_primitives(call: Callable, args: tuple, kwargs: dict, context: Any) -> Any:
    """Intercept the call of a module that ONNX has an operator for: bind its primitive instead."""
    module = context.module
    parameters = module.variables.get("params", {})
    names = PARAMETERS.get(type(module), ())
    plain = len(args) == 1 and not kwargs and getattr(args[0], "ndim", 0) == 4
    if type(module) not in MODULES or context.method_name != "__call__" or not plain or not set(names) <= {*parameters}:
        return call(*args, **kwargs)
    return MODULES[type(module)](module, *args, *(parameters[name] for name in names))


def is_constant(x: Any) -> bool:
    """Return whether an operand is an array, and not a value of the graph."""
    return not isinstance(x, Value)


def unary(*operators: str, scale: float = 1.0, shift: float = 0.0) -> Callable:
    """Return the rule that applies these operators, and then scale and shift, to every element."""

    def rule(graph: Graph, eqn: Any, x: Value) -> Value:
        x = graph.applied(x)
        name = x.name
        for operator in operators:
            name = graph.add(operator, [name])
        return replace(x, name=name, sole_reader=True).affine(scale, shift)

    return rule


def binary(operator: str) -> Callable:
    """Return the rule for add, sub, mul, div or max: constants wait where they can."""

    def rule(graph: Graph, eqn: Any, a: Any, b: Any) -> Value:
        if is_constant(a) or is_constant(b):
            return with_constant(graph, eqn, operator, a, b)
        values, shape = [graph.applied(a), graph.applied(b)], eqn.outvars[0].aval.shape
        held = {axis for value in values for axis in value.held()} - {None}
        orders = [*(value.axes for value in values), usual_axes(shape)]
        axes = next(order for order in orders if held <= set(order))
        name = graph.add(operator, [graph.arranged(value, axes) for value in values])
        return Value(name, shape, tuple(axis if axis in held else None for axis in axes))

    return rule


def with_constant(graph: Graph, eqn: Any, operator: str, a: Any, b: Any) -> Value:
    """Apply an operator to a value and a constant."""
    reverse = is_constant(a)
    value, constant = (b, np.asarray(a)) if reverse else (a, np.asarray(b))
    shape = eqn.outvars[0].aval.shape
    if shape != value.shape:  # the constant is longer along some axis
        value = renamed(value, shape, {axis: axis for axis in range(len(shape))})
    if np.all(constant == constant.flat[0]):
        constant = constant.flat[0].reshape(())
    if operator == "Max" and np.all(constant == -np.inf):
        return value
    if operator == "Max" and not constant.any():
        value = graph.applied(value)
        producer = graph.producers.get(value.name)
        return value if producer is not None and producer.op_type == "Relu" else unary("Relu")(graph, eqn, value)
    if sum(size > 1 for size in constant.shape) <= 1 and operator != "Max" and not (operator == "Div" and reverse):
        constant = constant.astype(np.float64)
        match operator:
            case "Add":
                return value.affine(shift=constant)
            case "Sub":
                return value.affine(-1.0, constant) if reverse else value.affine(shift=-constant)
            case "Mul" | "Div":
                return value.affine(constant if operator == "Mul" else 1 / constant)
    value = graph.whole(value)  # a constant may differ along an axis on which the value repeats
    other = graph.array(laid_out(constant, value.axes))
    return replace(value, name=graph.add(operator, [other, value.name] if reverse else [value.name, other]))


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
        if operator in ("Mean", "Max") and sorted(positions) == [2, 3] and len(held) == 4:
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


def renamed(x: Value, shape: Sequence[Any], to: dict[int, int]) -> Value:
    """Return the value in another shape, axis a of the old being axis `to[a]` of the new; others have one element."""

    def moved(waiting: Any) -> Any:
        if np.ndim(waiting) == 0:
            return waiting
        sizes = [1] * len(shape)
        for a, b in to.items():
            sizes[b] = waiting.shape[a]
        return waiting.transpose(sorted(range(waiting.ndim), key=lambda a: to.get(a, -1))).reshape(sizes)

    # An axis of one element that becomes a longer one is none that x holds.
    axes = tuple(to.get(a) if a is not None and x.shape[a] != 1 else None for a in x.axes)
    return replace(x, shape=tuple(shape), axes=axes, scale=moved(x.scale), shift=moved(x.shift))


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


def power(graph: Graph, eqn: Any, x: Value) -> Value:
    """Multiply a value by itself."""
    if eqn.params.get("y", 2) != 2:
        raise NotImplementedError(f"a power of {eqn.params['y']}")
    return binary("Mul")(graph, eqn, x, x)


def same(graph: Graph, eqn: Any, x: Value) -> Value:
    """Return the value: types are float32 throughout, and nothing is differentiated."""
    if not np.issubdtype(eqn.outvars[0].aval.dtype, np.floating):
        raise NotImplementedError(f"a conversion to {eqn.outvars[0].aval.dtype}")
    return x


RULES: dict[str, Callable] = {
    "add": binary("Add"),
    "sub": binary("Sub"),
    "mul": binary("Mul"),
    "div": binary("Div"),
    "max": binary("Max"),
    "neg": lambda graph, eqn, x: x.affine(-1.0),
    "square": power,
    "integer_pow": power,
    "exp": unary("Exp"),
    "tanh": unary("Tanh"),
    "logistic": unary("Sigmoid"),
    "sqrt": unary("Sqrt"),
    "rsqrt": unary("Sqrt", "Reciprocal"),
    "erf": unary("Erf"),
    "erfc": unary("Erf", scale=-1.0, shift=1.0),
    "conv_general_dilated": convolution,
    "dot_general": dense,
    "reduce_sum": reduction("Mean"),
    "reduce_max": reduction("Max"),
    "reduce_window_max": pooling("MaxPool"),
    "reduce_window_sum": pooling("AveragePool"),
    "reshape": reshape,
    "squeeze": reshape,
    "expand_dims": reshape,
    "transpose": transpose,
    "broadcast_in_dim": broadcast,
    "concatenate": concatenate,
    "stack": stack,
    "split": split,
    "slice": take_range,
    "pad": pad,
    "copy": same,
    "stop_gradient": same,
    "convert_element_type": same,
    "reduce_precision": same,
    "group_norm": normalize_groups,
    "up_conv": transposed_convolution,
}
# By the name of a function under `jax.jit`.
FUNCTIONS: dict[str, Callable] = {"resize_bilinear": resize, "reflect_edges": reflect}
