"""ONNX files in float32, in float16, or computed in 8-bit integers."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

from resnet_jax.errors import InputError
from resnet_jax.export.compare import Exported, Trial, check_logits, written
from resnet_jax.export.facts import describe
from resnet_jax.export.int8 import quantize
from resnet_jax.export.onnx import rounded_to_half, stored_in_half, to_onnx
from resnet_jax.export.pictures import Sample
from resnet_jax.export.run_onnx import logits_of
from resnet_jax.inference.trained import Trained


def write_onnx(trained: Trained, out: Path, trial: Trial, with_preprocessing: bool, half: bool) -> Exported:
    """Write a network to an ONNX file; arguments and errors as in `write.export`."""
    proto, entrance = _graph(trained, trial, with_preprocessing)
    images = entrance(trial.pictures)
    expected = trial.logits
    if half:
        # The network whose arrays are rounded is another one: it is what the file must equal.
        check_logits(expected, logits_of(proto.SerializeToString(), images), out)
        expected = logits_of(rounded_to_half(proto).SerializeToString(), images)
        proto = stored_in_half(proto)
    with written(out) as temporary:
        temporary.write_bytes(proto.SerializeToString())
        found = logits_of(str(temporary), images)
        check_logits(expected, found, out)
    return Exported(out, operators=_operators(proto), **trial.compare(found))


def write_int8(
    trained: Trained,
    out: Path,
    trial: Trial,
    with_preprocessing: bool,
    calibration: Sample,
    validation: Sample,
    max_drop: float,
) -> Exported:
    """Write a network in 8-bit integers.

    Args:
        trained: the network.
        out: the file.
        trial: what it is compared on.
        with_preprocessing: normalize in the network.
        calibration: pictures that give the ranges of activations.
        validation: pictures on which the top-1 before and after is counted.
        max_drop: the most that it may lose, a fraction.

    Raises:
        InputError: it loses more, or as `write.export`.
    """
    proto, entrance = _graph(trained, trial, with_preprocessing)
    content = proto.SerializeToString()
    check_logits(trial.logits, logits_of(content, entrance(trial.pictures)), out)
    images, labels = entrance(validation.pictures), validation.labels
    with written(out) as temporary:
        quantize(proto, entrance(calibration.pictures), temporary)
        count = len(images)
        before, after = (count_right(network, images, labels) for network in (content, str(temporary)))
        if before - after > max_drop * count:
            raise InputError(
                f"{out}: in 8-bit integers top-1 falls from {before / count:.4f} to {after / count:.4f} on {count:,} "
                f"pictures, by more than --max_drop={max_drop}: nothing was kept"
            )
        found = logits_of(str(temporary), entrance(trial.pictures))
        operators = _operators(onnx.load(temporary))
    return Exported(out, operators=operators, top1=(count, before, after), **trial.compare(found))


def count_right(network: str | bytes, images: np.ndarray, labels: np.ndarray | None) -> int:
    """Return how many images, as the network takes them, have their label as the likeliest class."""
    return int((logits_of(network, images).argmax(axis=-1) == labels).sum())


def _graph(
    trained: Trained, trial: Trial, with_preprocessing: bool
) -> tuple[onnx.ModelProto, Callable[[np.ndarray], np.ndarray]]:
    """Return the network as a graph, and the function from pictures uint8 [N,H,W,3] to what the graph takes."""
    inside = trained.preprocessing if with_preprocessing else None
    height, width = trial.pictures.shape[1:3]
    proto = to_onnx(trained.model, trained.variables, (height, width), describe(trained, with_preprocessing), inside)

    def entrance(pictures: np.ndarray) -> np.ndarray:
        if with_preprocessing:
            return pictures
        return np.asarray(trained.preprocessing.normalize({"image": pictures})["image"]).transpose(0, 3, 1, 2)

    return proto, entrance


def _operators(proto: onnx.ModelProto) -> dict[str, int]:
    return dict(Counter(node.op_type for node in proto.graph.node).most_common())
