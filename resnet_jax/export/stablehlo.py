"""StableHLO files: a trained network as a program that JAX alone runs, on CPUs, NVIDIA GPUs and TPUs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import export

from resnet_jax.data.preprocessing import Preprocessing
from resnet_jax.errors import InputError
from resnet_jax.inference.fold_batch_norm import fold_batch_norm
from resnet_jax.ops.lowering import plain_lowering

PLATFORMS = ("cpu", "cuda", "tpu")
EXTRA = "pip install 'residual-jax[export]'"
LARGEST_STRIDE = 32  # of any network: free heights and widths are multiples of it

LOADER = '''\
"""Logits of pictures by the network in {program}; needs jax, flatbuffers{and_safetensors}."""

from pathlib import Path

import numpy as np
from jax import export
{imports}
network = export.deserialize(bytearray(Path("{program}").read_bytes()))
{arrays}

def logits(pictures: np.ndarray) -> np.ndarray:
    """Return the logits of pictures uint8 [B,{height},{width},3], resized and cropped already."""
{normalize}
    return np.asarray(network.call(pictures{arguments}))
'''
NORMALIZE = "    pictures = (pictures / np.float32(255) - np.float32({mean})) / np.float32({std})"


@dataclass(frozen=True)
class Program:
    """A network as a program.

    Attributes:
        data: the program, as `jax.export.deserialize` reads it.
        arrays: its second argument, by name; empty where the program holds them.
        multiple: it takes images whose height and width are any multiples of this; 0: of one size only.
    """

    data: bytes
    arrays: Mapping[str, np.ndarray]
    multiple: int


def to_stablehlo(
    model: nn.Module,
    variables: Any,
    image_size: tuple[int, int],
    preprocessing: Preprocessing | None = None,
    *,
    beside: bool = False,
) -> Program:
    """Lower a network for all platforms, its normalizations folded; the batch is of any size.

    Height and width are free where the network allows it: not where its shapes decide what it computes.

    Args:
        model: the network.
        variables: its trained variables.
        image_size: height and width, where they cannot be free.
        preprocessing: put the normalization into the program, whose images are then uint8 [B,H,W,3]; None leaves it
            out, and images are normalized float32.
        beside: leave the arrays out of the program, which takes them as its second argument, a dict.

    Raises:
        InputError: the package flatbuffers is missing.
    """
    with plain_lowering():
        apply, folded = fold_batch_norm(model, variables, max(image_size))
    arrays = {"/".join(path): np.asarray(leaf) for path, leaf in flatten_dict(folded).items()}

    def network(images: jax.Array, arrays: Mapping[str, Any] = arrays) -> jax.Array:
        if preprocessing:
            images = preprocessing.normalize({"image": images})["image"]
        return apply(unflatten_dict({tuple(name.split("/")): leaf for name, leaf in arrays.items()}), images)

    def exported_for(shape: Sequence[Any]) -> export.Exported:
        images = jax.ShapeDtypeStruct(shape, jnp.uint8 if preprocessing else jnp.float32)
        with plain_lowering():
            return export.export(jax.jit(network), platforms=PLATFORMS)(images, *([arrays] if beside else []))

    (batch,) = export.symbolic_shape("batch")
    multiple = math.gcd(LARGEST_STRIDE, *image_size)
    try:
        exported = exported_for(export.symbolic_shape(f"batch, {multiple}*h, {multiple}*w, 3"))
    except Exception:  # of many kinds, where a size decides what is computed
        exported, multiple = exported_for((batch, *image_size, 3)), 0
    return Program(serialized(exported), arrays if beside else {}, multiple)


def serialized(exported: export.Exported) -> bytes:
    """Return the bytes of a program.

    Raises:
        InputError: the package flatbuffers is missing.
    """
    try:
        return bytes(exported.serialize())
    except ImportError:
        raise InputError(f"StableHLO needs the extra `export`: {EXTRA}") from None


def run_program(data: bytes, arrays: Mapping[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """Return the logits that a program computes of images, on the processor."""
    call = export.deserialize(bytearray(data)).call
    with jax.default_device(jax.devices("cpu")[0]):
        return np.asarray(call(images, dict(arrays)) if arrays else call(images))


def loader(
    program: Program, name: str, arrays: str, image_size: tuple[int, int], normalize: Preprocessing | None
) -> str:
    """Return a Python program that loads a file of `to_stablehlo`.

    Args:
        program: what the file holds.
        name: of the file.
        arrays: name of the file with the arrays, where the program does not hold them.
        image_size: height and width of the images, where they are not free.
        normalize: the preprocessing of the images, where the program does not normalize.
    """
    height, width = ("H", "W") if program.multiple else image_size
    return LOADER.format(
        program=name,
        and_safetensors=", safetensors" if program.arrays else "",
        imports="from safetensors.numpy import load_file\n" if program.arrays else "",
        arrays=f'arrays = load_file("{arrays}")\n' if program.arrays else "",
        height=height,
        width=width,
        normalize=NORMALIZE.format(mean=list(normalize.mean), std=list(normalize.std)) if normalize else "",
        arguments=", arrays" if program.arrays else "",
    ).replace('already."""\n\n', 'already."""\n')
