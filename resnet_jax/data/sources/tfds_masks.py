"""Any set of TensorFlow Datasets with pictures and masks, read by index and without TensorFlow."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from resnet_jax.data.sources.mask_coding import Color, MaskCoding, read_mask
from resnet_jax.data.sources.records import read_record
from resnet_jax.data.sources.source import Example
from resnet_jax.data.sources.tfds import DAMAGED, encoded_records, opened_split
from resnet_jax.errors import InputError

PREFIX = "masks:"
MASK = "segmentation_mask"


@dataclass(frozen=True)
class TfdsMasks:
    """One split of a prepared set.

    Attributes:
        records: the TFDS data source, whose pictures and masks stay encoded.
        place: the set and its split.
        version: its full name with version, and the lengths of its shards, for `example_digest`.
        coding: of the masks.
    """

    records: Any
    place: str
    version: str
    coding: MaskCoding

    @property
    def class_names(self) -> tuple[str, ...]:
        """K names."""
        return self.coding.class_names

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Example:
        """Return the encoded picture, and as its label the mask: uint8 [H,W], or [H,W,1] of one class."""
        record = self._record(index)
        return Example(record["image"], self._labels(record, index), self._name(record, index))

    def picture_name(self, index: int) -> str:
        """Return what errors and reports call a picture."""
        return self._name(self._record(index), index)

    def mask_name(self, index: int) -> str:
        """Return what errors call a picture's mask."""
        return _mask_of(self.picture_name(index))

    def raw_masks(self, index: int) -> list[tuple[np.ndarray, list[Color] | None]]:
        """Return the values of a picture's mask, int32 [H,W], and its palette, as a list of one."""
        record = self._record(index)
        return [read_mask(record[MASK], _mask_of(self._name(record, index)), self.coding.in_colors)]

    def mask(self, index: int) -> np.ndarray:
        """Return the labels of a picture: uint8 [H,W], or [H,W,1] of one class.

        Raises:
            InputError: a value is not a class.
        """
        return self._labels(self._record(index), index)

    def with_coding(self, coding: MaskCoding) -> "TfdsMasks":
        """Return the same set, of other classes."""
        return replace(self, coding=coding)

    def _record(self, index: int) -> Any:
        return read_record(self.records, index, self.place, DAMAGED)

    def _name(self, record: Any, index: int) -> str:
        return record["file_name"].decode() if "file_name" in record else f"{self.place} example {index}"

    def _labels(self, record: Any, index: int) -> np.ndarray:
        name = _mask_of(self._name(record, index))
        labels = self.coding.labels(read_mask(record[MASK], name, self.coding.in_colors)[0], name)
        return labels[..., None] if self.coding.binary else labels

    def identity(self) -> Iterator[bytes]:
        """Yield the version, for `example_digest`."""
        yield self.version.encode()


def _mask_of(picture: str) -> str:
    return f"the mask of {picture}"


def tfds_masks(name: str, split: Literal["train", "val"], data_dir: str | None) -> TfdsMasks:
    """Open a set that TFDS prepared, whose classes are still to be found.

    Raises:
        NotPrepared: it is not in `data_dir` (None: TFDS's own default).
        InputError: TFDS has no such set, it has no masks, or its files are incomplete.
    """
    import tensorflow_datasets as tfds

    builder, chosen, names = opened_split(name, split, data_dir)
    features = builder.info.features
    if not {"image", MASK} <= set(names) or not isinstance(features[MASK], tfds.features.Image):
        raise InputError(f"--dataset={PREFIX}{name} has no {MASK}: it has {', '.join(names)}")
    records, version = encoded_records(builder, name, chosen, data_dir, ("image", MASK))
    return TfdsMasks(records, f"{name} {chosen}", version, MaskCoding((), (), (), ()))
