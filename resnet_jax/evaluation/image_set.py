"""The set of images that a network is evaluated on: the run's own, or another with the same classes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from resnet_jax.data.sources.load import load_source
from resnet_jax.data.sources.source import Source
from resnet_jax.inference.trained import Trained, check_classes

Split = Literal["train", "val"]


@dataclass(frozen=True)
class ImageSet:
    """One split of a data set, as `load_source` names it.

    Attributes:
        dataset: its name.
        data_dir: folder of the data; "" for sets that need none.
        split: "val" or "train".
        val_fraction: of a folder without splits, the part that is for validation.
    """

    dataset: str
    data_dir: str
    split: Split
    val_fraction: float = 0.0

    @property
    def title(self) -> str:
        """What to call the set: a folder by its own name."""
        return Path(self.data_dir).name if self.dataset in ("folder", "prepared") else self.dataset


def image_set(trained: Trained, *, dataset: str = "", data_dir: str = "", split: Split = "val") -> ImageSet:
    """Return the set that options name; what they leave open is the run's own."""
    own = trained.run if trained.run is not None and not dataset else None
    # Other images are taken whole; of the run's own, those that it held out.
    fraction = own.val_fraction if own and not data_dir else 0.0
    return ImageSet(dataset or trained.dataset, data_dir or (own.data_dir if own else ""), split, fraction)


def open_set(images: ImageSet, trained: Trained, image_size: int) -> Source:
    """Open a set for a network.

    Args:
        images: the set.
        trained: the network.
        image_size: sets that are held in memory are resized to it; 0 for their own size.

    Raises:
        InputError: the data cannot be read, or the set has other classes than the network.
    """
    source = load_source(images.dataset, images.split, images.data_dir or None, image_size, images.val_fraction)
    check_classes(images.dataset, source.class_names, trained)
    return source
