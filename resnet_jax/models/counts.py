"""Parameters and multiply-adds of a network, counted without running it."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.extend.core import ClosedJaxpr, Jaxpr

from resnet_jax.ops.lowering import plain_lowering


def parameter_count(params: Any) -> int:
    """Count the trained numbers: the sizes of all leaves of `params`, which has no running statistics."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def abstract_variables(model: nn.Module, image_size: int) -> Any:
    """Return shapes and types of the variables for images of `image_size` pixels a side; nothing is computed."""
    image = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    return jax.eval_shape(lambda key, x: model.init(key, x, train=False), jax.random.key(0), image)


def multiply_adds(model: nn.Module, image_size: int) -> int:
    """Count the multiply-adds of one image's forward pass in convolutions and matrix products.

    Papers and torchvision's tables print them as GFLOPs or GMACs (4.089 G for ResNet-50 at 224). They are counted in
    the traced program, because flax's own table has 0 on some backends; in JAX's own lowering, so that they do not
    depend on the machine, and without the matrices by which images are resized.
    """
    variables = abstract_variables(model, image_size)
    image = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    with plain_lowering():
        traced = jax.make_jaxpr(lambda v, x: model.apply(v, x, train=False))(variables, image)
    return count_multiply_adds(traced.jaxpr)


def count_multiply_adds(jaxpr: Jaxpr) -> int:
    """Count the multiply-adds of a traced program; what is in a loop of unknown length counts once."""
    total = 0

    def shape(variable: Any) -> tuple[int, ...]:
        return variable.aval.shape

    for equation in jaxpr.eqns:
        if equation.params.get("name") == "resize_bilinear":
            continue
        if equation.primitive.name == "conv_general_dilated":
            kernel = shape(equation.invars[1])
            out_channels = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
            total += math.prod(shape(equation.outvars[0])) * math.prod(kernel) // out_channels
        elif equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = shape(equation.invars[0])
            total += math.prod(shape(equation.outvars[0])) * math.prod(left[i] for i in contracted)
        repeats = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda p: isinstance(p, Jaxpr | ClosedJaxpr)
        ):
            if isinstance(inner, ClosedJaxpr):
                inner = inner.jaxpr
            if isinstance(inner, Jaxpr):
                total += repeats * count_multiply_adds(inner)
    return total
