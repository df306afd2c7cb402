"""The layout of PyTorch's state dicts, as torchvision and timm write them.

A family of networks is a list of rules: (pattern, replacement) pairs for `re.sub`, applied in order to the path of one
of our modules ("stage1_block01/conv1"), which give torch's ("layer1.0.conv1"); a slash that is left becomes a dot. The
names of leaves and the order of a kernel's axes are the same for every family.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from resnet_jax.weights import layout
from resnet_jax.weights.layout import Layout, LeafPath, Tensors

Rules = Sequence[tuple[str, str | Callable[[re.Match[str]], str]]]

LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}

# Torch counts the batches of a normalization's training; only its average without a momentum would need the number.
COUNTER = "num_batches_tracked"


def torch_layout(rules: Rules) -> Layout:
    """Return the layout of a family's state dicts."""
    return Layout(
        name=partial(torch_name, rules=rules),
        to_file=_kernel_to_torch,
        to_ours=_kernel_to_ours,
        ignored=lambda name: name.endswith(COUNTER),
    )


def torch_name(path: LeafPath, rules: Rules) -> str:
    """Return torch's name of a leaf of our variables."""
    _, *modules, leaf = path
    return f"{torch_module('/'.join(modules), rules)}.{LEAVES.get(leaf, leaf)}"


def torch_module(module: str, rules: Rules) -> str:
    """Return torch's path of one of our modules."""
    for pattern, replacement in rules:
        module = re.sub(pattern, replacement, module)
    return module.replace("/", ".")


def within(ours: str, torchs: str, rules: Rules) -> tuple[str, Callable[[re.Match[str]], str]]:
    """Return a rule for a network inside another: `rules` hold below our module `ours`, which is torch's `torchs`."""
    return rf"^{ours}/(.+)$", lambda match: f"{torchs}.{torch_module(match[1], rules)}"


def to_torch(variables: Any, rules: Rules) -> Tensors:
    """Return a state dict of numpy arrays that torch loads with `strict=True`; the counters of batches are zero."""
    tensors = layout.to_tensors(variables, torch_layout(rules))
    norms = [name.removesuffix("running_mean") for name in tensors if name.endswith(".running_mean")]
    return tensors | {name + COUNTER: np.zeros((), np.int64) for name in norms}


# Ours [*window, in, out], torch's [out, in, *window]: one formula for dense (no window), 1-d and 2-d convolutions.
def _kernel_to_torch(path: LeafPath, array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, (-1, -2), (0, 1)) if path[-1] == "kernel" else array


def _kernel_to_ours(path: LeafPath, array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, (0, 1), (-1, -2)) if path[-1] == "kernel" else array
