"""Layers for which ONNX has one operator: a traced network shows each as a primitive of its own."""

from collections.abc import Callable
from typing import Any

from flax import linen as nn
from jax.extend.core import Primitive

from resnet_jax.models.unet import UpConv

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
