"""Comparison of a written network with the network itself, before the file gets its name."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from resnet_jax.data.augment.resize import resize
from resnet_jax.errors import InputError
from resnet_jax.export.pictures import sample_pictures
from resnet_jax.files.atomic import atomic_path, new_folder
from resnet_jax.inference.trained import Trained

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
        top1: of 8-bit integers, (pictures, right before, right after); () of other files.
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
    top1: tuple[int, ...] = ()


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


def build_trial(trained: Trained, size: Sequence[int], dataset: str, data_dir: str, count: int) -> Trial:
    """Compute the network's own logits of pictures; arguments and errors as in `write.export`."""
    sample = sample_pictures(trained, count, dataset=dataset, data_dir=data_dir)
    pictures = sample.pictures
    if size:
        height, width = size
        pictures = np.stack([resize(picture, height, width) for picture in pictures])
    return compute_trial(trained, pictures, sample.name)


def compute_trial(trained: Trained, pictures: np.ndarray, name: str) -> Trial:
    """Compute the network's own logits of pictures uint8 [N,H,W,3]."""
    normalized = np.asarray(trained.preprocessing.normalize({"image": pictures})["image"])
    # On the processor: accelerators compute products of float32 with fewer bits than the programs that read the file.
    with jax.default_device(jax.devices("cpu")[0]):
        variables = jax.device_get(trained.variables)
        apply = jax.jit(lambda variables, images: trained.model.apply(variables, images, train=False))
        logits = np.concatenate([apply(variables, image[None]) for image in normalized])
    return Trial(pictures, normalized, logits, name)


def resized_trial(trained: Trained, trial: Trial, height: int, width: int) -> Trial:
    """Return a trial of two of the pictures at another size, for files that take images of any."""
    pictures = np.stack([resize(picture, height, width) for picture in trial.pictures[:2]])
    return compute_trial(trained, pictures, trial.name)


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


@contextmanager
def filled(folder: Path, option: str) -> Iterator[Path]:
    """Yield a new folder to fill, which gets its name at the end of the block; an error leaves nothing.

    Args:
        folder: it must not exist.
        option: that names it, for errors.

    Raises:
        InputError: it exists, or cannot be written.
    """
    try:
        with new_folder(folder) as temporary:
            try:
                yield temporary
            except InputError as error:  # that nobody looks for the temporary name
                raise InputError(str(error).replace(str(temporary), str(folder))) from error
    except FileExistsError:
        raise InputError(f"--{option}={folder} exists; remove it, or name another") from None
    except OSError as error:
        raise InputError(f"--{option}={folder} cannot be written: {error}") from error


def check_logits(expected: np.ndarray, found: np.ndarray, out: Path) -> None:
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
    return float(np.abs(found - expected).max() / (np.abs(expected).max() or 1.0))
