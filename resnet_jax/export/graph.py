"""A graph of ONNX operators under construction, and its values: channels come before pixels in the graph.

A traced program names its axes by position, [B,H,W,C]; the graph holds the same values as [B,C,H,W]. Each value knows
which axis of the graph holds which of its own, so that nothing is transposed, and so that an axis of one element can
come and go without an operator.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Axes = tuple[int | None, ...]
PIXELS = (0, 3, 1, 2)  # [B,H,W,C] in the graph


@dataclass(frozen=True)
class Value:
    """A value of the traced program: `scale * x + shift` of a value x of the graph.

    Constants that are multiplied or added wait in `scale` and `shift`, until an operator reads the value: a bias or a
    normalization thereby ends up in the kernel before it.

    Attributes:
        name: of x in the graph.
        shape: in the program; the batch is a symbolic size.
        axes: for each axis of x, the program's axis that it holds; None holds none and has one element. Along an axis
            of the program that no axis of x holds, the value repeats.
        scale: a number, or an array of as many axes as `shape`, of one element along all but one of them.
        shift: like `scale`.
        sole_reader: nothing else reads x, so that the operator that gives x may be changed.
    """

    name: str
    shape: tuple[Any, ...]
    axes: Axes
    scale: Any = 1.0
    shift: Any = 0.0
    sole_reader: bool = True

    def held(self) -> list[int | None]:
        """Return `axes`, None for those of one element."""
        return [None if a is None or self.shape[a] == 1 else a for a in self.axes]

    def affine(self, scale: Any = 1.0, shift: Any = 0.0) -> "Value":
        """Return scale times this, plus shift."""
        return replace(self, scale=self.scale * scale, shift=self.shift * scale + shift)


class Graph:
    """Operators in order, and the arrays that they read."""

    def __init__(self):
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.producers: dict[str, onnx.NodeProto] = {}
        self.path = ""  # of the module that is written
        self._applied: dict[int, tuple[Value, Value]] = {}

    def add(self, operator: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> Any:
        """Append an operator; return the name of its output, or the names."""
        stem = f"{self.path}/{operator}".lstrip("/")
        first = self.unique(stem)
        names = [first, *(self.unique(f"{first}/part{number}") for number in range(2, outputs + 1))]
        node = helper.make_node(operator, list(inputs), names, name=first, **attributes)
        self.nodes.append(node)
        self.producers |= dict.fromkeys(names, node)
        return names[0] if outputs == 1 else names

    def array(self, values: Any, name: str = "", dtype: Any = np.float32) -> str:
        """Add an array; return its name."""
        name = self.unique(f"{self.path}/{name or 'constant'}".lstrip("/"))
        self.arrays[name] = np.ascontiguousarray(values, dtype)
        return name

    def unique(self, stem: str) -> str:
        """Return a name that nothing in the graph has, made of this one."""
        name, number = stem, 1
        while name in self.producers or name in self.arrays:
            number += 1
            name = f"{stem}_{number}"
        return name

    def applied(self, value: Value) -> Value:
        """Return the value with its scale and shift applied: in the kernel before it, or else by operators."""
        # Once: several rules may ask, and a kernel must not be multiplied twice. The entry keeps the value alive, or
        # another could have its id.
        if id(value) not in self._applied:
            self._applied[id(value)] = value, self._apply(value)
        return self._applied[id(value)][1]

    def _apply(self, value: Value) -> Value:
        scale, shift = (np.asarray(waiting, np.float64) for waiting in (value.scale, value.shift))
        if is_one(scale) and not shift.any():
            return replace(value, scale=1.0, shift=0.0)
        channels = [a for waiting in (scale, shift) for a, size in enumerate(waiting.shape) if size > 1]
        if not {*channels} <= {*value.held()}:
            value = self.whole(replace(value, scale=1.0, shift=0.0))
        by_channel = all(len(value.axes) > 1 and a == value.axes[1] for a in channels)
        node = self.producers.get(value.name)
        if node is not None and node.op_type in ("Conv", "ConvTranspose", "Gemm") and value.sole_reader and by_channel:
            self._into_kernel(node, scale, shift)
            return replace(value, scale=1.0, shift=0.0)
        name = value.name
        if channels and by_channel and not is_one(scale) and shift.any() and len(value.axes) == 4:
            size = value.shape[channels[0]]
            ones, zeros = np.ones(size), np.zeros(size)
            terms = {"scale": scale.reshape(-1) * ones, "shift": shift.reshape(-1) * ones, "mean": zeros, "var": ones}
            name = self.add("BatchNormalization", [name, *(self.array(v, k) for k, v in terms.items())], epsilon=0.0)
        elif (scale == -1).all() and shift.any():
            name = self.add("Sub", [self.array(laid_out(shift, value.axes), "shift"), name])
        else:
            if not is_one(scale):
                name = self.add("Mul", [name, self.array(laid_out(scale, value.axes), "scale")])
            if shift.any():
                name = self.add("Add", [name, self.array(laid_out(shift, value.axes), "shift")])
        return replace(value, name=name, scale=1.0, shift=0.0, sole_reader=True)

    def _into_kernel(self, node: onnx.NodeProto, scale: np.ndarray, shift: np.ndarray) -> None:
        kernel = self.arrays[node.input[1]].astype(np.float64)
        outputs = 0 if node.op_type == "Conv" else 1
        shape = [-1 if axis == outputs else 1 for axis in range(kernel.ndim)]
        self.arrays[node.input[1]] = (kernel * scale.reshape(shape if scale.size > 1 else ())).astype(np.float32)
        bias = self.arrays[node.input[2]] if len(node.input) > 2 else np.zeros(kernel.shape[outputs])
        bias = (bias.astype(np.float64) * scale.reshape(-1) + shift.reshape(-1)).astype(np.float32)
        if len(node.input) > 2:
            self.arrays[node.input[2]] = bias
        else:
            here, self.path = self.path, node.name.rpartition("/")[0]
            node.input.append(self.array(bias, "bias"))
            self.path = here

    def arranged(self, value: Value, axes: Sequence[int | None]) -> str:
        """Return the name of a value whose axes in the graph are these, for an operator that repeats by itself."""
        value = self.applied(value)
        held = value.held()
        wanted = [None if a is None or value.shape[a] == 1 else a for a in axes]
        if len(held) == len(wanted) and all(h in (None, w) for h, w in zip(held, wanted, strict=True)):
            return value.name
        name, kept = value.name, [a for a in held if a is not None]
        if None in held:
            spare = [i for i, a in enumerate(held) if a is None]
            name = self.add("Squeeze", [name, self.array(spare, "axes", np.int64)])
        order = [a for a in wanted if a in kept]
        if order != kept:
            name = self.add("Transpose", [name], perm=[kept.index(a) for a in order])
        if missing := [i for i, a in enumerate(wanted) if a not in kept]:
            name = self.add("Unsqueeze", [name, self.array(missing, "axes", np.int64)])
        return name

    def whole(self, value: Value, axes: Axes | None = None) -> Value:
        """Return a value with its scale and shift applied that repeats along no axis.

        Args:
            value: the value.
            axes: of the result in the graph; None leaves them where they are.
        """
        value = self.applied(value)
        missing = [a for a, size in enumerate(value.shape) if size != 1 and a not in value.held()]
        if axes is None:
            axes = usual_axes(value.shape) if missing else value.axes
        name = self.arranged(value, axes)
        if missing:
            if 0 in missing:
                raise NotImplementedError("a value that does not depend on the image")
            sizes = [1 if a in (None, 0) else value.shape[a] for a in axes]
            name = self.add("Expand", [name, self.array(sizes, "sizes", np.int64)])
        return Value(name, value.shape, axes, sole_reader=value.sole_reader)

    def proto(self, image: onnx.ValueInfoProto, output: str, shape: Sequence[Any]) -> onnx.GraphProto:
        """Return the graph from the image to one output, called "logits", without what does not lead there."""
        needed, kept = {output}, []
        for node in reversed(self.nodes):
            if needed & set(node.output):
                needed |= set(node.input)
                kept.append(node)
        for node in kept:
            for names in (node.input, node.output):
                names[:] = ["logits" if name == output else name for name in names]
        arrays = [numpy_helper.from_array(values, name) for name, values in self.arrays.items() if name in needed]
        logits = helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, shape)
        return helper.make_graph(kept[::-1], "network", [image], [logits], arrays)


def usual_axes(shape: Sequence[Any]) -> tuple[int, ...]:
    """Return the order in which the graph holds the axes of a value of that shape, if nothing asks for another."""
    return PIXELS if len(shape) == 4 else tuple(range(len(shape)))


def is_one(scale: np.ndarray) -> bool:
    """Return whether a scale is 1; a mean waits as n times the mean, divided by n."""
    return np.allclose(scale, 1, rtol=1e-9, atol=0)


def laid_out(values: np.ndarray, axes: Axes) -> np.ndarray:
    """Return a constant of the program with the axes of a value of the graph; a number stays a number."""
    if values.ndim == 0:
        return values
    held = [a for a in axes if a is not None]
    rest = [a for a in range(values.ndim) if a not in held]
    if any(values.shape[a] != 1 for a in rest):
        raise NotImplementedError("a constant along an axis that the value does not have")
    values = values.transpose(*held, *rest).reshape([values.shape[a] for a in held])
    return values.reshape([1 if a is None else values.shape[held.index(a)] for a in axes])


def is_constant(x: Any) -> bool:
    """Return whether an operand is an array, and not a value of the graph."""
    return not isinstance(x, Value)


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
