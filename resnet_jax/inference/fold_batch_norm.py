"""Batch normalization folded into the convolution before it, for inference: one pass over the activations less.

In inference the normalization is a line, y = a x + b for each channel. Where x is what a convolution gives, and nothing
else reads it, the kernel can be multiplied by a once and for all, and b is left to add.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.ad_checkpoint import checkpoint_name

from resnet_jax.layers.conv import Conv
from resnet_jax.layers.norm import BatchNorm
from resnet_jax.models.resnet.scan import unrolled

Path = tuple[str, ...]
Apply = Callable[..., Any]

OUT, IN = "out of ", "into "


def fold_batch_norm(model: nn.Module, variables: Any, image_size: int) -> tuple[Apply, Any]:
    """Return the same network without the normalizations that can be folded, whichever it is made of.

    A normalization stays where its input is not a convolution's (the first of a pre-activation block), or has other
    readers too (DenseNet's), where the kernel is standardized, and in a loop over blocks of another network.

    Args:
        model: the network; `scan` and `remat` are of no use in inference and are left.
        variables: its variables, block by block.
        image_size: pixels a side of images that it takes; others remain possible.

    Returns:
        `apply(variables, images, features=False)`, in inference, and the variables that it takes: equal to the
        network's own but for rounding.
    """
    model = unrolled(model)
    pairs = foldable(model, variables, image_size)
    params: dict[Path, Any] = {**flatten_dict(variables["params"])}
    stats: dict[Path, Any] = {**flatten_dict(variables.get("batch_stats", {}))}
    for norm_path, (conv_path, epsilon) in pairs.items():
        multiplier = jax.lax.rsqrt(stats.pop((*norm_path, "var")) + epsilon)
        if (*norm_path, "scale") in params:
            multiplier = multiplier * params.pop((*norm_path, "scale"))
        for name in ("kernel", "bias"):
            if (*conv_path, name) in params:
                values = params[*conv_path, name]
                params[*conv_path, name] = values * multiplier.reshape((1,) * (values.ndim - 1) + (-1,))
        shift = stats.pop((*norm_path, "mean")) * multiplier
        params[*norm_path, "bias"] = params[*norm_path, "bias"] - shift
    folded = {"params": unflatten_dict(params), "batch_stats": unflatten_dict(stats)}

    def apply(variables: Any, images: jax.Array, features: bool = False) -> Any:
        with nn.intercept_methods(partial(_add_bias_alone, norms=frozenset(pairs))):
            return model.apply(variables, images, train=False, features=features)

    return apply, folded


def foldable(model: nn.Module, variables: Any, image_size: int) -> dict[Path, tuple[Path, float]]:
    """Return the paths of the normalizations that can be folded: each with its convolution's, and its epsilon.

    Read off the traced program, in which the outputs of convolutions and the inputs of normalizations are named.
    """
    epsilons: dict[Path, float] = {}

    def named(call: Callable, args: tuple, kwargs: dict, context: Any) -> Any:
        module = context.module
        if isinstance(module, BatchNorm):
            epsilons[module.path] = module.epsilon
            return call(checkpoint_name(args[0], IN + "/".join(module.path)), *args[1:], **kwargs)
        if isinstance(module, Conv) and not module.standardize:
            return checkpoint_name(call(*args, **kwargs), OUT + "/".join(module.path))
        return call(*args, **kwargs)

    def traced(variables: Any, images: jax.Array) -> Any:
        with nn.intercept_methods(named):
            return model.apply(variables, images, train=False, features=True)  # they too read what they show

    image = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    program = jax.make_jaxpr(traced)(variables, image).jaxpr
    outputs = {e.outvars[0]: e.params["name"].removeprefix(OUT) for e in _names(program, OUT)}
    inputs = {e.invars[0]: e.params["name"].removeprefix(IN) for e in _names(program, IN)}
    read = [variable for e in program.eqns for variable in e.invars] + list(program.outvars)
    pairs = {}
    for variable, conv in outputs.items():
        if variable in inputs and sum(variable is other for other in read) == 1:
            norm = tuple(inputs[variable].split("/"))
            pairs[norm] = (tuple(conv.split("/")), epsilons[norm])
    return pairs


def _names(program: Any, prefix: str) -> list[Any]:
    return [e for e in program.eqns if e.primitive.name == "name" and e.params["name"].startswith(prefix)]


def _add_bias_alone(call: Callable, args: tuple, kwargs: dict, context: Any, *, norms: frozenset[Path]) -> Any:
    module = context.module
    if not isinstance(module, BatchNorm) or module.path not in norms:
        return call(*args, **kwargs)
    bias = module.get_variable("params", "bias")
    return (args[0] + bias.reshape((1,) * (args[0].ndim - 1) + (-1,))).astype(module.dtype)
