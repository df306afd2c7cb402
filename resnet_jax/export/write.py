"""Export of a trained network to a file, which is read again and compared before it gets its name."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from resnet_jax.data.augment.host import resize
from resnet_jax.errors import InputError
from resnet_jax.export.facts import describe
from resnet_jax.export.pictures import sample_pictures
from resnet_jax.files.atomic import atomic_path, write_atomically
from resnet_jax.inference.trained import Trained
from resnet_jax.weights.formats import write_tensors
from resnet_jax.weights.pretrained import load_pretrained, write_weights
from resnet_jax.weights.shapes import options_of

Format = Literal["onnx", "stablehlo", "safetensors"]
ENDINGS: dict[str, Format] = {".onnx": "onnx", ".stablehlo": "stablehlo", ".safetensors": "safetensors"}

EXTRA = "pip install 'residual-jax[export]'"
LIMIT = 1e-4  # of the largest logit: what a written network may differ


@dataclass(frozen=True)
class Exported:
    """A written network.

    Attributes:
        path: of the file.
        others: files beside it that belong to it.
        difference: greatest difference from our own logits, as a share of the largest of them.
        agreeing: pictures, or pixels, whose likeliest class is the same; of weights alone, arrays that are equal.
        compared: how many were compared.
        pictures: name of their set.
        operators: how often each is in an ONNX file; {} of other formats.
        loader: Python program that loads a StableHLO file; "" of other formats.
        multiple: a StableHLO file takes images whose height and width are any multiples of this; 0: of one size.
    """

    path: Path
    others: tuple[Path, ...] = ()
    difference: float = 0.0
    agreeing: int = 0
    compared: int = 0
    pictures: str = ""
    operators: Mapping[str, int] = field(default_factory=dict)
    loader: str = ""
    multiple: int = 0


def export(
    trained: Trained,
    out: str | Path,
    to: Format | None = None,
    *,
    size: Sequence[int] = (),
    half: bool = False,
    with_preprocessing: bool = False,
    beside: bool = False,
    dataset: str = "",
    data_dir: str = "",
    num_pictures: int = 16,
) -> Exported:
    """Write a network to a file that runs without this package.

    Args:
        trained: the network.
        out: the file.
        to: its format; None is what its name ends with.
        size: height and width of the images, pixels; empty is the network's own.
        half: store the arrays of an ONNX file in float16; the computation remains in float32.
        with_preprocessing: normalize in the network, which then takes pictures as uint8 [B,H,W,3].
        beside: leave the arrays of a StableHLO file in a .safetensors file beside it.
        dataset: set of the pictures to compare on, any that training takes; "" is the run's own validation set, or
            bundled digits of a network that is no run's.
        data_dir: folder of their data; "" is the run's own.
        num_pictures: how many are compared.

    Raises:
        InputError: the file cannot be written, the network has something that the format lacks, a package is missing,
            or the written file does not compute what the network does.
    """
    out = Path(out)
    chosen = to or ENDINGS.get(out.suffix)
    if chosen is None:
        raise InputError(f"--out={out}: name the format, --to=onnx, stablehlo or safetensors")
    if len(size) not in (0, 2):
        raise InputError(f"--size {' '.join(map(str, size))}: name two, height and width")
    check_writable(out)
    if chosen == "safetensors":
        return _safetensors(trained, out)
    trial = _trial(trained, size, dataset, data_dir, num_pictures)
    if chosen == "stablehlo":
        return _stablehlo(trained, out, trial, with_preprocessing, beside)
    return _onnx(trained, out, trial, with_preprocessing, half)


@dataclass(frozen=True)
class Trial:
    """Pictures to compare a written network on.

    Attributes:
        pictures: uint8 [N,H,W,3].
        normalized: the same as the network takes them, float32.
        logits: of the network, [N,K] or of pixels [N,H,W,K].
        name: of their set.
    """

    pictures: np.ndarray
    normalized: np.ndarray
    logits: np.ndarray
    name: str

    def compare(self, found: np.ndarray) -> dict[str, Any]:
        """Return the fields of an `Exported` that say how far other logits are from the network's."""
        same = found.argmax(axis=-1) == self.logits.argmax(axis=-1)
        return {
            "difference": difference(self.logits, found),
            "agreeing": int(same.sum()),
            "compared": same.size,
            "pictures": self.name,
        }


def _trial(trained: Trained, size: Sequence[int], dataset: str, data_dir: str, count: int) -> Trial:
    pictures, name = sample_pictures(trained, count, dataset=dataset, data_dir=data_dir)
    if size:
        height, width = size
        pictures = np.stack([resize(picture, height, width) for picture in pictures])
    normalized = np.asarray(trained.preprocessing.normalize({"image": pictures})["image"])
    logits = jax.jit(lambda images: trained.model.apply(trained.variables, images, train=False))
    return Trial(pictures, normalized, np.concatenate([logits(image[None]) for image in normalized]), name)


def _onnx(trained: Trained, out: Path, trial: Trial, with_preprocessing: bool, half: bool) -> Exported:
    try:
        from resnet_jax.export import onnx
        from resnet_jax.export.run_onnx import logits_of
    except ImportError as error:
        raise InputError(f"--to=onnx needs the extra `export` ({error}): {EXTRA}") from None
    proto = onnx.to_onnx(
        trained.model,
        trained.variables,
        trial.pictures.shape[1:3],
        describe(trained, with_preprocessing),
        trained.preprocessing if with_preprocessing else None,
    )
    images = trial.pictures if with_preprocessing else trial.normalized.transpose(0, 3, 1, 2)
    with written(out) as temporary:
        if half:
            # The network whose arrays are rounded is another one: it is what the file must equal.
            check_equal(trial.logits, logits_of(proto.SerializeToString(), images), out)
            expected = logits_of(onnx.rounded_to_half(proto).SerializeToString(), images)
            proto = onnx.stored_in_half(proto)
        else:
            expected = trial.logits
        temporary.write_bytes(proto.SerializeToString())
        found = logits_of(str(temporary), images)
        check_equal(expected, found, out)
    operators = dict(Counter(node.op_type for node in proto.graph.node).most_common())
    return Exported(out, operators=operators, **trial.compare(found))


def _stablehlo(trained: Trained, out: Path, trial: Trial, with_preprocessing: bool, beside: bool) -> Exported:
    from resnet_jax.export.stablehlo import loader, run_program, to_stablehlo

    size = trial.pictures.shape[1:3]
    inside = trained.preprocessing if with_preprocessing else None
    program = to_stablehlo(trained.model, trained.variables, size, inside, beside=beside)
    description, arrays = out.with_suffix(".json"), out.with_suffix(".safetensors")
    images = trial.pictures if with_preprocessing else trial.normalized
    with written(out) as temporary:
        temporary.write_bytes(program.data)
        found = run_program(temporary.read_bytes(), program.arrays, images)
        check_equal(trial.logits, found, out)
        if beside:
            write_tensors(arrays, program.arrays)
        write_atomically(description, json.dumps(describe(trained, with_preprocessing), indent=2))
    text = loader(program, out.name, arrays.name, size, None if inside else trained.preprocessing)
    others = (description, *([arrays] if beside else []))
    return Exported(out, others, loader=text, multiple=program.multiple, **trial.compare(found))


def _safetensors(trained: Trained, out: Path) -> Exported:
    with written(out) as temporary:
        write_weights(
            temporary,
            trained.name,
            trained.variables,
            source=trained.source,
            preprocessing=trained.preprocessing,
            class_names=trained.class_names,
            options=options_of(trained.name, trained.model),
        )
        read = load_pretrained(trained.name, temporary, num_classes=trained.num_classes)
    leaves = [jax.tree.leaves(tree) for tree in (read, trained.variables)]
    equal = sum(np.array_equal(a, b) for a, b in zip(*leaves, strict=True))
    return Exported(out, difference=0.0, agreeing=equal, compared=len(leaves[0]), pictures="")


def check_writable(out: Path) -> None:
    """Refuse a file that cannot be written, before anything is computed.

    Raises:
        InputError: its folder does not exist or cannot be written to, or it is a folder itself.
    """
    folder = out.absolute().parent
    if out.is_dir():
        raise InputError(f"--out={out} is a folder; name a file in it")
    if not folder.is_dir():
        raise InputError(f"--out={out}: there is no folder {folder}; create it")
    if not os.access(folder, os.W_OK):
        raise InputError(f"--out={out}: {folder} cannot be written to; name a file in another folder")


@contextmanager
def written(out: Path) -> Iterator[Path]:
    """Yield a path to write to, which gets its name at the end of the block; an error leaves nothing.

    Raises:
        InputError: it cannot be written.
    """
    try:
        with atomic_path(out) as temporary:
            yield temporary
    except OSError as error:
        raise InputError(f"--out={out} cannot be written: {error.strerror or error}") from error


def check_equal(expected: np.ndarray, found: np.ndarray, out: Path) -> None:
    """Refuse a written network that does not compute what it should.

    Raises:
        InputError: its logits differ by more than LIMIT of the largest, or are not finite.
    """
    share = difference(expected, found)
    if not share <= LIMIT:
        raise InputError(
            f"{out}: the written network's logits differ from ours by {share:.1e} of the largest, more than "
            f"{LIMIT:.0e}: nothing was kept; please report the network"
        )


def difference(expected: np.ndarray, found: np.ndarray) -> float:
    """Return the greatest difference of logits, as a share of the largest of those expected."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())
