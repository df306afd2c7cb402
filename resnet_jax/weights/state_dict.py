"""State dicts inside the checkpoints of training scripts: under one of many keys, among other things."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from resnet_jax.errors import InputError
from resnet_jax.weights import torch_file
from resnet_jax.weights.torch_objects import Opaque
from resnet_jax.weights.torch_tensors import Plain, Tensor

# Where several state dicts are found, the first of these is chosen, and averages only where there is nothing else.
PREFERRED = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params", "backbone")
AVERAGE = re.compile(r"ema|avg|average|swa|momentum", re.IGNORECASE)

PARALLEL = "module."  # before every name of a network trained on several GPUs

# Keys of tensors that are the training's and not the network's.
TRAINING = re.compile(r"optim|sched|scaler|rng", re.IGNORECASE)


def find(saved: Any, weights_key: str = "") -> tuple[dict[str, Tensor], str]:
    """Find the state dict in a checkpoint.

    Args:
        saved: a mapping with a `Tensor` for each tensor.
        weights_key: key of the state dict, dots between nested ones; a prefix of names within it may come behind, or
            stand alone. Empty: the only one there is, or the likeliest.

    Returns:
        (tensors by name, a line that names the chosen key and the others, empty where there was no choice).

    Raises:
        InputError: there is none, none under that key, or it holds something else than tensors.
    """
    if isinstance(saved, Mapping) and not saved:
        raise InputError("holds no tensors")
    found = dict(_candidates(saved, ()))
    if weights_key:
        key, tensors = _under(found, weights_key)
        return _checked(key, tensors), ""
    if not found:
        for name, value in _opaque(saved, ""):
            raise InputError(_refusal(name, value))
        raise InputError("not a state dict; it must hold tensors by name, alone or under a key such as 'state_dict'")
    largest = max(map(len, found.values()))
    likely = [key for key, tensors in found.items() if 2 * len(tensors) >= largest]
    chosen, *others = sorted(likely, key=_rank)
    named = [f"'{key}' (--weights_key={key})" for key in others]
    note = f"took the weights under '{chosen}'; there are others under {', '.join(named)}" if others else ""
    return _checked(chosen, found[chosen]), note


def _opaque(saved: Any, name: str) -> Iterator[tuple[str, Opaque]]:
    if isinstance(saved, Opaque):
        yield name, saved
    elif isinstance(saved, Mapping):
        for key, value in saved.items():
            yield from _opaque(value, f"{name}.{key}".removeprefix("."))


def _refusal(name: str, value: Opaque) -> str:
    if value.is_tensor:
        return f"'{name}' is {value.kind}, which cannot be loaded; save it as a dense tensor of float32"
    return torch_file.refusal(f"{value.kind} under '{name}'" if name else value.kind)


def _candidates(saved: Any, path: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(saved, Mapping) or any(TRAINING.search(key) for key in path):
        return
    named = {str(key): value for key, value in saved.items() if isinstance(key, str)}
    inside = [pair for key, value in named.items() for pair in _candidates(value, (*path, key))]
    own = {key: value for key, value in named.items() if is_tensor(value)}
    if own and len(own) > sum(len(tensors) for _, tensors in inside):
        # Numbers and text among the tensors, such as an epoch, are not weights; an object may have been meant as one.
        objects = {key: value for key, value in named.items() if isinstance(value, Opaque)}
        yield ".".join(path), own | objects
    else:
        yield from inside


def is_tensor(value: Any) -> bool:
    """Return whether a value holds numbers by itself."""
    return isinstance(value, np.ndarray) or hasattr(value, "read")


def _rank(key: str) -> tuple[bool, int]:
    names = key.split(".")
    return bool(AVERAGE.search(key)), min(PREFERRED.index(n) if n in PREFERRED else len(PREFERRED) for n in names)


def _under(found: Mapping[str, dict[str, Any]], weights_key: str) -> tuple[str, dict[str, Any]]:
    named = [key for key in found if key == weights_key or key.endswith(f".{weights_key}")]
    if named:
        return named[0], found[named[0]]
    for key, tensors in sorted(found.items(), key=lambda entry: _rank(entry[0])):
        inner = f"{weights_key.removeprefix(f'{key}.')}."
        for prefix in (inner, PARALLEL + inner):
            if below := {n.removeprefix(prefix): value for n, value in tensors.items() if n.startswith(prefix)}:
                return weights_key, below
    raise InputError(f"--weights_key={weights_key}: there is no such key; weights are under {_listed(found)}")


def _listed(found: Mapping[str, dict[str, Any]]) -> str:
    first = [name.partition(".")[0] for tensors in found.values() for name in tensors]
    keys = [key for key in found if key] or list(dict.fromkeys(first))
    return ", ".join(f"'{key}'" for key in keys[:5]) or "none"


def _checked(key: str, tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    for name, value in tensors.items():
        if isinstance(value, Opaque):
            raise InputError(_refusal(f"{key}.{name}".removeprefix("."), value))
    parallel = all(name.startswith(PARALLEL) for name in tensors)
    named = {name.removeprefix(PARALLEL) if parallel else name: value for name, value in tensors.items()}
    return {name: Plain(value) if isinstance(value, np.ndarray) else value for name, value in named.items()}
