"""The set of images that a network is evaluated on: the run's own, or another with the same classes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from resnet_jax.data.build import folder_rule
from resnet_jax.data.notices import print_notice
from resnet_jax.data.sources.held_out import FolderRule
from resnet_jax.data.sources.load import AS_THEY_LIE, load_source
from resnet_jax.data.sources.own_pictures import own_splits
from resnet_jax.data.sources.source import ArraySource, Source, example_digest
from resnet_jax.errors import InputError
from resnet_jax.inference.trained import Trained, check_classes

Split = Literal["train", "val", "test"]

# What config.json calls the number and the digest of a split's images.
FACTS = {"train": ("num_train", "train_examples"), "val": ("num_test", "test_examples")}


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
    def identity(self) -> tuple[tuple[str, str], Split, FolderRule]:
        """What two sets have in common that are of the same images, however their folder is written."""
        return place_of(self.dataset, self.data_dir), self.split, replace(self.rule, links_out=False)

    @property
    def title(self) -> str:
        """Name of the set in text; of a folder, its own."""
        return Path(self.data_dir).resolve().name if self.dataset in ("folder", "prepared") else self.dataset


def image_set(
    trained: Trained, *, dataset: str = "", data_dir: str = "", split: Split = "val", links_out: bool = False
) -> ImageSet:
    """Return the set that options name; what they leave open is the run's own."""
    own = trained.run if trained.run is not None and not dataset else None
    rule = folder_rule(own) if own else AS_THEY_LIE
    if data_dir and rule.val_fraction and "val" in own_splits(data_dir):
        rule = AS_THEY_LIE
    if data_dir and rule.option:  # the folder may have moved: images of the training do not count as others
        print_notice(f"{data_dir} is split as in the training, {rule.option}; with --dataset=folder it is taken whole")
    rule = replace(rule, links_out=rule.links_out or links_out)
    return ImageSet(dataset or trained.dataset, data_dir or (own.data_dir if own else ""), split, rule)


def refuse_training_images(networks: Sequence[Trained], images: ImageSet) -> None:
    """Refuse an ensemble on images that a member was trained on, where parts of one folder are held out by a rule.

    Args:
        networks: the members, in any order.
        images: the set, as `image_set` has it for the first of them.

    Raises:
        InputError: a member's training and validation images of this folder are others.
    """
    if images.split != "val" or len(networks) == 1:
        return
    folders = {place_of(images.dataset, images.data_dir)}
    if images.rule.option and (first := networks[0].run):
        folders.add(place_of(first.dataset, first.data_dir))  # --data_dir is then where that folder was moved to
    rule = replace(images.rule, links_out=False)
    for network in networks:
        run = network.run
        if run is None or place_of(run.dataset, run.data_dir) not in folders:
            continue
        if replace(folder_rule(run), links_out=False) != rule:
            raise InputError(
                f"{network.source} was trained on some of these images; evaluate the ensemble on pictures that no "
                "member has seen: --split=test, or --dataset=folder --data_dir=ROOT"
            )


def place_of(dataset: str, data_dir: str) -> tuple[str, str]:
    """Return a data set's name and folder, the same however the folder is written: relative, or by a link."""
    return dataset, str(Path(data_dir).expanduser().resolve()) if data_dir else ""


def open_set(images: ImageSet, trained: Trained, image_size: int) -> Source:
    """Open a set for a network.

    Args:
        images: the set.
        trained: the network.
        image_size: sets that are held in memory are resized to it; 0 for their own size.

    Raises:
        InputError: the data cannot be read, or the set has other classes than the network.
    """
    source = open_any_set(images, trained, image_size)
    if set(source.class_names) < set(trained.class_names or ()):
        raise InputError(
            f"--dataset={images.dataset} has {len(source.class_names)} of the network's {trained.num_classes} classes; "
            "experiments.evaluate --subset counts these alone"
        )
    check_classes(images.dataset, source.class_names, trained)
    return source


def open_any_set(images: ImageSet, trained: Trained, image_size: int) -> Source:
    """Open a set whatever its classes; arguments as in `open_set`.

    Raises:
        InputError: the data cannot be read.
    """
    kind = trained.preprocessing.interpolation
    source = load_source(images.dataset, images.split, images.data_dir or None, image_size, images.rule, kind)
    if changed := changed_since_training(images, trained, source):
        print_notice(changed)
    return source


def changed_since_training(images: ImageSet, trained: Trained, source: Source) -> str:
    """Return a line on the run's own images where they are not those of its training; else ""."""
    run = trained.run
    if run is None or images.split not in FACTS:
        return ""
    if place_of(images.dataset, images.data_dir) != place_of(run.dataset, run.data_dir):
        return ""
    number, digest = (trained.facts.get(name) for name in FACTS[images.split])
    kind = "training" if images.split == "train" else "validation"
    if number is not None and len(source) != number:
        return f"{len(source):,} {kind} images in {images.title}, where the training had {number:,}: another set"
    # Images in memory may be resized to another size than in the training.
    if digest is not None and not isinstance(source, ArraySource) and example_digest(source) != digest:
        return f"the {kind} images in {images.title} have other names than in the training: another set"
    return ""
