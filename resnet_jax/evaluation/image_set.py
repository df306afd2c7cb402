"""The set of images that a network is evaluated on: the run's own, or another with the same classes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from resnet_jax.data.build import folder_rule
from resnet_jax.data.notices import print_notice
from resnet_jax.data.sources.held_out import FolderRule
from resnet_jax.data.sources.load import AS_THEY_LIE, load_source
from resnet_jax.data.sources.own_pictures import own_splits
from resnet_jax.data.sources.source import Source
from resnet_jax.inference.trained import Trained, check_classes

Split = Literal["train", "val", "test"]


@dataclass(frozen=True)
class ImageSet:
    """One split of a data set, as `load_source` names it.

    Attributes:
        dataset: its name.
        data_dir: folder of the data; "" for sets that need none.
        split: "val", "train" or, of one's own pictures, "test".
        rule: how training and validation images are told from each other.
    """

    dataset: str
    data_dir: str
    split: Split
    rule: FolderRule = AS_THEY_LIE

    @property
    def title(self) -> str:
        """What to call the set: a folder by its own name."""
        return Path(self.data_dir).name if self.dataset in ("folder", "prepared") else self.dataset


def image_set(trained: Trained, *, dataset: str = "", data_dir: str = "", split: Split = "val") -> ImageSet:
    """Return the set that options name; what they leave open is the run's own."""
    own = trained.run if trained.run is not None and not dataset else None
    rule = folder_rule(own) if own else AS_THEY_LIE
    if data_dir and rule.val_fraction and own_splits(data_dir):
        rule = AS_THEY_LIE
    if data_dir and rule.option:  # the folder may have moved: images of the training do not count as others
        print_notice(f"{data_dir} is split as in the training, {rule.option}; with --dataset=folder it is taken whole")
    return ImageSet(dataset or trained.dataset, data_dir or (own.data_dir if own else ""), split, rule)


def open_set(images: ImageSet, trained: Trained, image_size: int) -> Source:
    """Open a set for a network.

    Args:
        images: the set.
        trained: the network.
        image_size: sets that are held in memory are resized to it; 0 for their own size.

    Raises:
        InputError: the data cannot be read, or the set has other classes than the network.
    """
    source = load_source(images.dataset, images.split, images.data_dir or None, image_size, images.rule)
    check_classes(images.dataset, source.class_names, trained)
    return source
