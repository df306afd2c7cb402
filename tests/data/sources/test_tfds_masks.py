"""Masks of TensorFlow Datasets, read without TensorFlow."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from resnet_jax.data.mask_checks import check_masks
from resnet_jax.data.sources.masks import mask_source
from resnet_jax.data.sources.tfds_masks import tfds_masks
from resnet_jax.errors import InputError
from tests.data.sources.test_tfds import damage_a_record, png, prepare, prepare_records
from tests.masked_pictures import picture


def prepare_masks(data_dir: Path, counts: dict[str, int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Write a set, and return its pictures and masks."""
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "segmentation_mask": tfds.features.Image(shape=(None, None, 1)),
            "file_name": tfds.features.Text(),
        }
    )
    rng = np.random.default_rng(0)
    made = {split: [picture(rng, (24, 32)) for _ in range(count)] for split, count in counts.items()}
    records = {
        split: [
            {"image": png(image), "segmentation_mask": png(labels), "file_name": f"{split}{number}.jpg"}
            for number, (image, labels) in enumerate(pairs)
        ]
        for split, pairs in made.items()
    }
    prepare_records(data_dir, "toy_masks", features, records)
    return [pair for pairs in made.values() for pair in pairs]


def test_reads_masks_with_their_pictures(tmp_path):
    made = prepare_masks(tmp_path, {"train": 3, "test": 2})
    source = mask_source("val", str(tmp_path), name="masks:toy_masks")
    assert source.class_names == ("class 0", "class 1", "class 2")
    assert len(source) == 2
    np.testing.assert_array_equal(source[1].label, made[4][1])
    assert source.picture_name(1) == "test1.jpg"
    assert check_masks(source, 0).sizes.tolist() == [[24, 32]] * 2


@pytest.mark.parametrize("read", ["__getitem__", "mask", "raw_masks", "picture_name"])
def test_a_damaged_record_is_one_line(tmp_path, read):
    prepare_masks(tmp_path, {"train": 3})
    damage_a_record(next(tmp_path.rglob("*train.array_record*")), b"train1.jpg")
    source = tfds_masks("toy_masks", "train", str(tmp_path))
    with pytest.raises(
        InputError, match=r"^toy_masks train example 1 cannot be read: a shard is damaged; copy the set"
    ):
        getattr(source, read)(1)


def test_a_set_without_masks_is_refused(tmp_path):
    prepare(tmp_path, {"train": 3})
    with pytest.raises(
        InputError, match="--dataset=masks:toy has no segmentation_mask: it has file_name, image, label"
    ):
        mask_source("train", str(tmp_path), name="masks:toy")
    with pytest.raises(InputError, match="has the splits train and val"):
        mask_source("test", str(tmp_path), name="masks:toy")
