"""CIFAR-10 and CIFAR-100 from their official binary files, or from a prepared TFDS set."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from resnet_jax.data.decode import decode_image
from resnet_jax.data.sources.source import ArraySource, Source
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
PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Layout:
    """How one of the two sets lies on disk.

    A record is `label_bytes` bytes, the last of them the class (CIFAR-100 has the superclass before it), then 3,072
    bytes of pixels: three planes of 32 rows of 32.
    """

    folder: str
    files: dict[str, tuple[str, ...]]
    records: dict[str, int]
    label_bytes: int
    class_names: tuple[str, ...]
    archive: str


LAYOUTS = {
    "cifar10": Layout(
        folder="cifar-10-batches-bin",
        files={"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "val": ("test_batch.bin",)},
        records={"train": 10_000, "val": 10_000},
        label_bytes=1,
        class_names=tuple(CIFAR10.split()),
        archive="cifar-10-binary.tar.gz",
    ),
    "cifar100": Layout(
        folder="cifar-100-binary",
        files={"train": ("train.bin",), "val": ("test.bin",)},
        records={"train": 50_000, "val": 10_000},
        label_bytes=2,
        class_names=tuple(CIFAR100.split()),
        archive="cifar-100-binary.tar.gz",
    ),
}


def cifar_source(
    name: Literal["cifar10", "cifar100"], split: Literal["train", "val"], data_dir: str | None
) -> ArraySource:
    """Return the training or the test set, 32x32 pixels, held in memory.

    Raises:
        InputError: there is neither the binary version nor a prepared TFDS set in `data_dir`, or a file is damaged.
    """
    layout = LAYOUTS[name]
    for folder in (Path(data_dir), Path(data_dir) / layout.folder) if data_dir else ():
        if (folder / layout.files[split][0]).is_file():
            return read_binary([folder / file for file in layout.files[split]], layout, layout.records[split])
    try:
        return decoded(tfds_source(name, split, data_dir))
    except NotPrepared as error:
        raise InputError(
            f"--dataset={name}: --data_dir={data_dir} holds neither {layout.folder}/{layout.files[split][0]} nor a "
            f"prepared TFDS set; unpack {layout.archive} (the binary version, not the python one) from "
            "https://www.cs.toronto.edu/~kriz/cifar.html there, or prepare it with tfds"
        ) from error


def read_binary(paths: list[Path], layout: Layout, records: int) -> ArraySource:
    """Read files of `records` records each.

    Raises:
        InputError: a file is missing, has another size, or holds a label that is out of range.
    """
    size = records * (layout.label_bytes + PIXELS)
    parts = []
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path} is missing beside the other files; unpack {layout.archive} again")
        if path.stat().st_size != size:
            raise InputError(f"{path} has {path.stat().st_size} bytes instead of {size}; unpack {layout.archive} again")
        parts.append(np.fromfile(path, np.uint8).reshape(records, layout.label_bytes + PIXELS))
    rows = np.concatenate(parts)
    planes = rows[:, layout.label_bytes :].reshape(-1, 3, 32, 32)
    return ArraySource(
        images=np.ascontiguousarray(planes.transpose(0, 2, 3, 1)),
        labels=rows[:, layout.label_bytes - 1].astype(np.int32),
        class_names=layout.class_names,
        length=len(rows),
    )


def decoded(source: Source) -> ArraySource:
    """Return any small source of images of one size, decoded into memory."""
    examples = [source[index] for index in range(len(source))]
    images = [image if isinstance(image, np.ndarray) else decode_image(image, name) for image, _, name in examples]
    return ArraySource(
        images=np.stack(images),
        labels=np.array([example.label for example in examples], np.int32),
        class_names=source.class_names,
        length=len(examples),
    )
