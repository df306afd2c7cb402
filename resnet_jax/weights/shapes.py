"""Shapes of a network's variables, which of them depend on the number of classes, and the options behind them."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import flatten_dict

from resnet_jax.models.registry import create_model
from resnet_jax.weights.layout import LeafPath

Options = Mapping[str, Any]  # of `create_model`, beside the number of classes

# Fields of networks that do not change the logits of a trained one.
_TRAINING_FIELDS = {
    *("parent", "name", "num_classes", "dtype", "param_dtype", "scan", "remat"),
    *("bn_group_size", "stochastic_depth", "dropout", "zero_init"),
}


def options_of(name: str, model: nn.Module) -> dict[str, Any]:
    """Return the options by which a network differs from `create_model(name)`, but for those of its training.

    Those of the encoder of a network for dense prediction are among them.
    """
    usual: Any = create_model(name)
    encoder = differing(cast(Any, model).backbone(), usual.backbone()) if hasattr(model, "backbone") else {}
    return encoder | differing(model, usual)


def differing(model: nn.Module, usual: nn.Module) -> dict[str, Any]:
    """Return the fields of a network that are other than those of a usual one, but for those of its training."""
    fields = [field.name for field in dataclasses.fields(model) if field.name not in _TRAINING_FIELDS]
    values = {name: getattr(model, name) for name in fields}
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, bool | int | float | str) and value != getattr(usual, name, None)
    }


def variable_shapes(name: str, num_classes: int | None, options: Options | None = None) -> Any:
    """Return the shapes of a network's variables; nothing is computed."""
    classes = num_classes or cast(Any, create_model(name, **(options or {}))).num_classes
    return _shapes(name, classes, tuple(sorted((options or {}).items())))


@cache  # tracing a deep network takes seconds
def _shapes(name: str, num_classes: int, options: tuple[tuple[str, Any], ...]) -> Any:
    return jax.eval_shape(_init(name, num_classes, dict(options)), jax.random.key(0))


def head_paths(name: str, shapes: Any, num_classes: int | None, options: Options | None = None) -> list[LeafPath]:
    """Return the leaves that depend on the number of classes (None: the network's own), whatever their names."""
    classes = num_classes or cast(Any, create_model(name, **(options or {}))).num_classes
    leaves: dict[LeafPath, Any] = flatten_dict(shapes)
    wider: dict[LeafPath, Any] = flatten_dict(variable_shapes(name, classes + 1, options))
    return [path for path, leaf in leaves.items() if leaf.shape != wider[path].shape]


def initial_leaves(
    name: str, paths: Sequence[LeafPath], num_classes: int, seed: int, options: Options | None = None
) -> dict[LeafPath, Any]:
    """Return some leaves as the network's initialization draws them; inside jit, the rest is never computed."""
    init = _init(name, num_classes, options or {})

    def chosen(key: jax.Array) -> list[jax.Array]:
        leaves: dict[LeafPath, Any] = flatten_dict(init(key))
        return [leaves[path] for path in paths]

    return dict(zip(paths, jax.device_get(jax.jit(chosen)(jax.random.key(seed))), strict=True))


def _init(name: str, num_classes: int, options: Options) -> Any:
    model = create_model(name, num_classes=num_classes, **options)
    size = 32 if name.endswith("_cifar") else 224
    return lambda key: model.init(key, jnp.zeros((1, size, size, 3)), train=False)
