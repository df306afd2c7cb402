"""Operators of ONNX for the primitives of a traced network: one table.

By primitive and not by layer: a network is then whatever it computes, and a new one is exported without a line here. A
few layers for which ONNX has one operator are found by name: modules are replaced by a primitive of their own while the
network is traced (modules.py), functions are known by the name that `jax.jit` gives them.
"""

from collections.abc import Callable

from resnet_jax.export.elementwise import binary, power, same, unary
from resnet_jax.export.shapes import broadcast, concatenate, pad, reshape, split, stack, take_range, transpose
from resnet_jax.export.sums import (
    convolution,
    dense,
    normalize_groups,
    pooling,
    reduction,
    reflect,
    resize,
    transposed_convolution,
)

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
