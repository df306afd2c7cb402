"""Rules for what is computed element by element; scales and shifts wait in the value for the next kernel."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from resnet_jax.export.graph import Graph, Value, is_constant, laid_out, renamed, usual_axes


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
