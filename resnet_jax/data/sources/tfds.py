"""Any image classification set of TensorFlow Datasets, read by index and without TensorFlow."""

import difflib
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from resnet_jax.data.sources.records import read_record
from resnet_jax.data.sources.source import Example, check_label
from resnet_jax.errors import InputError
from resnet_jax.files.open_files import make_room

OUR_SETS = ("digits", "cifar10", "cifar100", "folder", "masks", "prepared", "fake")  # those of `load_source`
DAMAGED = "copy the set's files again, or prepare it again"  # what to do
IMAGENET_FILES = ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar")


class NotPrepared(InputError):
    """The data set exists but is not on this machine."""


@dataclass(frozen=True)
class TfdsSource:
    """One split of a prepared set.

    Attributes:
        records: the TFDS data source, whose images stay encoded.
        class_names: K names.
        name: the set and its split.
        version: its full name with version, and the lengths of its shards, for `example_digest`.
    """

    records: Any
    class_names: tuple[str, ...]
    name: str
    version: str = ""

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Example:
        record = read_record(self.records, index, self.name, DAMAGED)
        file = f" ({record['file_name'].decode()})" if "file_name" in record else ""
        name = f"{self.name} example {index}{file}"
        return Example(record["image"], check_label(record["label"], len(self.class_names), name), name)

    def identity(self) -> Iterator[bytes]:
        """Yield the version, for `example_digest`."""
        yield self.version.encode()


def tfds_source(name: str, split: Literal["train", "val"], data_dir: str | None) -> TfdsSource:
    """Open a set that TFDS prepared; validation is its "validation" split or, where it has none, "test".

    Raises:
        NotPrepared: it is not in `data_dir` (None: TFDS's own default).
        InputError: TFDS has no such set, it is not image classification, or its files are incomplete.
    """
    import tensorflow_datasets as tfds

    builder, chosen, names = opened_split(name, split, data_dir)
    features = builder.info.features
    if (
        not {"image", "label"} <= set(names)
        or not isinstance(features["image"], tfds.features.Image)
        or not isinstance(features["label"], tfds.features.ClassLabel)
    ):
        raise InputError(f"--dataset={name} is not image classification: it has {', '.join(names)}")
    records, version = encoded_records(builder, name, chosen, data_dir, ("image",))
    return TfdsSource(records, tuple(features["label"].names), f"{name} {chosen}", version)


def opened_split(name: str, split: Literal["train", "val"], data_dir: str | None) -> tuple[Any, str, list[str]]:
    """Return TFDS's builder of a set, its name of a split, and the names of its features.

    Raises:
        NotPrepared: it is not in `data_dir`.
        InputError: there is no such set or split.
    """
    import tensorflow_datasets as tfds

    builder = opened_builder(name, data_dir)
    splits = builder.info.splits
    if not splits:
        raise NotPrepared(how_to_prepare(name, data_dir))
    wanted = ("train",) if split == "train" else ("validation", "test")
    chosen = next((candidate for candidate in wanted if candidate in splits), None)
    if chosen is None:
        raise InputError(f"--dataset={name} has no split {' or '.join(wanted)}, only {', '.join(sorted(splits))}")
    features = builder.info.features
    dictionary = isinstance(features, tfds.features.FeaturesDict)
    return builder, chosen, sorted(features) if dictionary else [type(features).__name__]


def encoded_records(
    builder: Any, name: str, split: str, data_dir: str | None, pictures: Sequence[str]
) -> tuple[Any, str]:
    """Return the records of a split, whose pictures stay encoded, and its version with the lengths of its shards.

    Raises:
        NotPrepared: it was prepared in another format.
        InputError: its files are incomplete, or more than this process may open.
    """
    import tensorflow_datasets as tfds

    if builder.info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
        raise NotPrepared(
            f"--dataset={name} in {builder.data_dir} is in another format, {builder.info.file_format}. "
            + how_to_prepare(name, data_dir)
        )
    info = builder.info.splits[split]
    check_records(info)
    make_room(len(info.shard_lengths), f"{name} {split}")
    decoders = {picture: tfds.decode.SkipDecoding() for picture in pictures}
    version = f"{builder.info.full_name} {split} {list(info.shard_lengths)}"
    return builder.as_data_source(split=split, decoders=decoders), version


def opened_builder(name: str, data_dir: str | None) -> Any:
    """Return TFDS's builder of a set.

    Raises:
        InputError: there is no such set, or TFDS cannot open it.
    """
    import tensorflow_datasets as tfds

    output = io.StringIO()  # a page about installing TensorFlow
    try:
        with redirect_stdout(output), redirect_stderr(output):
            return tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        raise InputError(unknown_name(name, tfds_names())) from error
    except ImportError as error:  # whose text TFDS puts behind its own
        package = re.search(r"No module named '?([\w.]+)", str(error))
        needed = f"the package {package[1]}" if package else "other packages"
        raise InputError(
            f"--dataset={name} needs {needed}, as sets do that are more than images and labels; take an image "
            "classification set, or a folder of images with --dataset=folder"
        ) from error
    except Exception as error:  # an unknown version, a set of another host, broken metadata
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"--dataset={name} cannot be opened by TensorFlow Datasets ({reason}); check the name and --data_dir"
        ) from error


def check_records(split: Any) -> None:
    """Count the records of every file from its footer, before hours of training meet the one that is cut short.

    Args:
        split: TFDS's SplitInfo.

    Raises:
        InputError: a file is missing, damaged, or holds another number of records than the set's own description.
    """
    from array_record.python.array_record_module import ArrayRecordReader

    for path, expected in zip(split.filepaths, split.shard_lengths, strict=True):
        if not Path(path).is_file():
            raise InputError(f"{path} is missing; copy it there or prepare the set again")
        try:
            reader = ArrayRecordReader(str(path))
            found = reader.num_records()
            reader.close()
        except (RuntimeError, ValueError) as error:
            raise InputError(f"{path} is damaged or cut short; copy it again or prepare the set again") from error
        if found != expected:
            raise InputError(f"{path} has {found} records instead of {expected}; prepare the set again")


def how_to_prepare(name: str, data_dir: str | None) -> str:
    """Return one line: how to get the set, and how to do without TFDS."""
    where = data_dir or "~/tensorflow_datasets"
    manual = f"put {' and '.join(IMAGENET_FILES)} in {where}/downloads/manual, then " if name == "imagenet2012" else ""
    return (
        f"--dataset={name} is not prepared in {where}: {manual}run pip install 'residual-jax[prepare]' and python -c "
        f"\"import tensorflow_datasets as tfds; tfds.builder('{name}', data_dir='{where}')"
        ".download_and_prepare(file_format='array_record')\"; or use a folder of images with --dataset=folder "
        "--data_dir=ROOT"
    )


def unknown_name(name: str, known: list[str]) -> str:
    """Return one line: the names that are meant most likely."""
    close = difflib.get_close_matches(name, known, n=4, cutoff=0.5)
    return (
        f"unknown --dataset={name}; "
        + (f"did you mean {', '.join(close)}? " if close else "")
        + f"Known are {', '.join(OUR_SETS)} and the image classification sets of "
        "https://www.tensorflow.org/datasets/catalog"
    )


def tfds_names() -> list[str]:
    """Return every data set that the installed TFDS knows, and our own."""
    from tensorflow_datasets.core import registered

    return [*OUR_SETS, *registered.list_imported_builders()]
