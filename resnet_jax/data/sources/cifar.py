"""CIFAR-10 and CIFAR-100 from their official files, or from a prepared TFDS set."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from resnet_jax.data.sources.cifar_files import Version, read_files
from resnet_jax.data.sources.source import ArraySource, Source, pixels_of
from resnet_jax.data.sources.tfds import NotPrepared, tfds_source
from resnet_jax.errors import InputError

CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
CIFAR100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""


@dataclass(frozen=True)
class Published:
    """One of the two sets, in both of its versions.

    Attributes:
        records: of each file of a split.
        class_names: K names, sorted.
        versions: the binary one first.
    """

    records: dict[str, int]
    class_names: tuple[str, ...]
    versions: tuple[Version, ...]


BATCHES = [f"data_batch_{i}" for i in range(1, 6)]

PUBLISHED = {
    "cifar10": Published(
        records={"train": 10_000, "val": 10_000},
        class_names=tuple(CIFAR10.split()),
        versions=(
            Version(
                folder="cifar-10-batches-bin",
                archive="cifar-10-binary.tar.gz",
                files={"train": tuple(f"{batch}.bin" for batch in BATCHES), "val": ("test_batch.bin",)},
                label_bytes=1,
            ),
            Version(
                folder="cifar-10-batches-py",
                archive="cifar-10-python.tar.gz",
                files={"train": tuple(BATCHES), "val": ("test_batch",)},
                label_key=b"labels",
            ),
        ),
    ),
    "cifar100": Published(
        records={"train": 50_000, "val": 10_000},
        class_names=tuple(CIFAR100.split()),
        versions=(
            Version(
                folder="cifar-100-binary",
                archive="cifar-100-binary.tar.gz",
                files={"train": ("train.bin",), "val": ("test.bin",)},
                label_bytes=2,
            ),
            Version(
                folder="cifar-100-python",
                archive="cifar-100-python.tar.gz",
                files={"train": ("train",), "val": ("test",)},
                label_key=b"fine_labels",
            ),
        ),
    ),
}


def cifar_source(
    name: Literal["cifar10", "cifar100"], split: Literal["train", "val"], data_dir: str | None
) -> ArraySource:
    """Return the training or the test set, 32x32 pixels, held in memory.

    Raises:
        InputError: there is neither a version of the set nor a prepared TFDS set in `data_dir`, or a file is damaged.
    """
    published = PUBLISHED[name]
    root = Path(data_dir).expanduser() if data_dir else None
    for version in published.versions:
        for folder in (root, root / version.folder) if root else ():
            if (folder / version.files[split][0]).is_file():
                return read_version(folder, published, version, split)
    try:
        return decoded(tfds_source(name, split, data_dir))
    except NotPrepared as error:
        binary = published.versions[0]
        raise InputError(
            f"--dataset={name}: --data_dir={data_dir} holds neither {binary.folder}/{binary.files[split][0]} nor a "
            f"prepared TFDS set; unpack {binary.archive} (or {published.versions[1].archive}) from "
            "https://www.cs.toronto.edu/~kriz/cifar.html there, or prepare it with tfds"
        ) from error


def read_version(folder: Path, published: Published, version: Version, split: Literal["train", "val"]) -> ArraySource:
    """Read the files of a split.

    Raises:
        InputError: as `read_files`, or a label is out of range.
    """
    images, labels = read_files(folder, version, split, published.records[split])
    return ArraySource(images=images, labels=labels, class_names=published.class_names, length=len(images))


def decoded(source: Source) -> ArraySource:
    """Decode a small source of images of one size into memory."""
    examples = [source[index] for index in range(len(source))]
    return ArraySource(
        images=np.stack([pixels_of(example) for example in examples]),
        labels=np.array([example.label for example in examples], np.int32),
        class_names=source.class_names,
        length=len(examples),
    )
